"""Which path a call to each class of peer will take, from what a probe observed.

Only what was measured is judged: what is not known makes ``maybe``, never ``none``.
"""

from __future__ import annotations

from icekit.probe_observations import Observations, families, is_offline, relay_works, udp_works
from icekit.report import Behavior, NatReport, NatReports, Outlook, PathKind

# The classes of peer that an outlook is given for. What they stand for:
# open: a host with a public address and no filter;
# endpoint-independent: the usual home router, endpoint-independent mapping and address-and-port-dependent filtering;
# address-and-port-dependent: a "symmetric" NAT, address-and-port-dependent in mapping and filtering;
# udp-blocked: a network that passes only TCP, so the peer comes through a TURN server over TCP or TLS.
PEERS = ("open", "endpoint-independent", "address-and-port-dependent", "udp-blocked")
PEER_WORDS = {
    "open": "a peer without a NAT",
    "endpoint-independent": "a peer behind a home router",
    "address-and-port-dependent": 'a peer behind a "symmetric" NAT',
    "udp-blocked": "a peer whose network blocks UDP",
}


def outlook(observed: Observations) -> tuple[Outlook, ...]:
    """The path to each class of peer in ``PEERS``; nothing for a run on the embedded servers."""
    if observed.local:
        return ()
    relay = relay_works(observed.turn)
    udp = udp_works(observed)
    if udp is None and relay is False and is_offline(observed):
        return tuple(Outlook(peer, PathKind.NONE, "this host has no network address") for peer in PEERS)
    name, nat = judged_family(observed.nat)
    return tuple(_path(peer, name, nat, udp, relay) for peer in PEERS)


def judged_family(nat: NatReports) -> tuple[str, NatReport]:
    """The family to judge: most peers have IPv4, so IPv6 counts where IPv4 brings nothing."""
    reports = list(families(nat))
    working = [item for item in reports if item[1].udp]
    return (working or reports or [("IPv4", NatReport())])[0]


RELAY_WORDS = {True: "the relay works", False: "no relay works", None: "the test of the relay was interrupted"}


def _path(peer: str, family: str, nat: NatReport, udp: bool | None, relay: bool | None) -> Outlook:
    direct, why = _direct(peer, nat, udp)
    if peer == "udp-blocked" and relay:
        why = "the peer reaches the relay only over TCP or TLS"
    elif family == "IPv6" and direct is not False:
        why = f"{why}; over IPv6 only" if why else "over IPv6 only"
    if direct:
        return Outlook(peer, PathKind.DIRECT, why)
    if relay and direct is False:
        return Outlook(peer, PathKind.RELAY, why)
    unknown = direct is None or relay is None
    return Outlook(peer, PathKind.MAYBE if unknown else PathKind.NONE, f"{why}; {RELAY_WORDS[relay]}")


def _direct(peer: str, nat: NatReport, udp: bool | None) -> tuple[bool | None, str]:
    """Whether a direct path to this class of peer exists, and what decides.

    Both sides send to the other's server-reflexive address. A side whose mapping depends on the destination sends from
    another port than the one that its STUN server saw. The other side lets that packet in unless it filters by port;
    its answer goes back to where the packet came from. With both mappings dependent, neither side ever answers from the
    address that was asked (RFC 4787 §4.1, §5; RFC 8445 §7.2.5.2.1 wants answers from there).
    """
    if peer == "udp-blocked":
        return False, "the peer cannot send UDP"
    if udp is None:
        return None, "it is not known whether UDP passes here"
    if not udp:
        return False, "UDP is blocked here"
    if peer == "open":
        return True, ""
    mapping, filtering = own_mapping(nat), nat.filtering
    independent = Behavior.ENDPOINT_INDEPENDENT
    if mapping not in (None, independent):
        return False, "the NAT here uses another port for each peer, and the peer filters by port"
    if peer == "endpoint-independent":
        return (True, "") if mapping else (None, "the mapping of the NAT here is not known")
    if filtering is Behavior.ADDRESS_AND_PORT_DEPENDENT:
        return False, "the peer's NAT uses another port for each peer, and this network filters by port"
    if mapping is None or filtering is None:
        return None, f"the {'filtering' if mapping else 'mapping'} of the NAT here is not known"
    return True, ""


def own_mapping(nat: NatReport) -> Behavior | None:
    """The mapping as a peer sees it: without a NAT an address stays what it is."""
    return Behavior.ENDPOINT_INDEPENDENT if nat.behind_nat is False else nat.mapping
