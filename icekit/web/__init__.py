"""The browser's side: a page for calls and the diagnosis of a network, one ES module, and the server of all of it.

``icekit.web.pages`` are the pages for any HTTP server; ``static/icekit.js`` is the module that others may import.
"""
