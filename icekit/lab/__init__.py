"""Any program behind a real NAT: Linux network namespaces with the kernel's NATs. Linux and root only.

::

    with Lab(KernelNat.MASQUERADE) as lab:
        server = lab.popen(Place.SERVER, ["turnserver", "-n", …])
        print(lab.run(Place.CLIENT, ["stun", "203.0.113.10"]).stdout)
"""

from icekit.lab.kernel_nat import KernelNat
from icekit.lab.namespaces import Namespace, remove_all
from icekit.lab.topology import Lab, Place

__all__ = ["KernelNat", "Lab", "Namespace", "Place", "remove_all"]
