"""``classify``: from what NAT tests saw to a ``NatReport``. Nothing is guessed (RFC 4787, 5780).

It looks only at values that a test saw; whatever it cannot tell is ``None``, with a sentence that says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, groupby, pairwise
from math import gcd

from icekit.attributes import Change
from icekit.nat_observations import MIN_TRANSMISSIONS, NatObservations, Sample, alternate_flaw
from icekit.net import Address, AddressClass, classify_host, scope_of
from icekit.report import Behavior, NatReport, NatTest, Pooling, PortAssignment, ServerReport

# With fewer samples a random port has the parity of the local one, in all of them, more often than in 1 of 1,000 runs.
MIN_PARITY_SAMPLES = 10
# Sequential assignment is shared with other hosts behind the NAT: what they open lies between our ports.
MAX_SEQUENTIAL_GAP = 64
# The tests whose sockets send in one burst, so that their order is that of the NAT.
BURST = ("port", "hairpin")
# Of three gaps between random ports two are that small, with the same sign, in 1 of 100,000 runs.
MIN_SEQUENTIAL_SAMPLES = 4


def classify(seen: NatObservations, servers: Sequence[ServerReport] = ()) -> NatReport:
    """The behaviour of what lies between this host and the servers. ``servers`` add what TCP and ICMP told."""
    reason: dict[str, str] = {}
    udp = _udp(seen, servers, reason)
    behind = _behind_nat(seen, reason)
    mapping = _mapping(seen, behind, reason)
    filtering = _filtering(seen, reason)
    ports, step = _ports(seen, behind, reason)
    mapped = tuple(dict.fromkeys(str(sample.mapped) for sample in seen.samples if sample.test == "mapping"))
    return NatReport(
        mapping=mapping,
        filtering=filtering,
        hairpinning=_hairpinning(seen, behind, reason),
        port_assignment=ports,
        port_step=step,
        address_pooling=_pooling(seen, behind, reason),
        behind_nat=behind,
        udp=udp,
        parity=_parity(seen, behind, reason),
        alg=_alg(seen, reason),
        cgnat=_cgnat(seen, behind, reason),
        nats=_nats(seen, behind, reason),
        binding_lifetime=_lifetime(seen, behind, reason),
        mapped_addresses=mapped,
        reason=reason,
        tests=_tests(seen),
    )


_NO_NAT = "no NAT"
_NO_ANSWER = "no STUN server answered over UDP"


def _udp(seen: NatObservations, servers: Sequence[ServerReport], reason: dict[str, str]) -> bool | None:
    over_udp = [server for server in servers if server.transport == "udp"]
    heard = [item for item in seen.silences if item.heard]
    if seen.samples or heard or any(server.reachable or _is_heard(server) for server in over_udp):
        return True
    asked = {str(item.server) for item in seen.silences} | _addresses(over_udp)
    refused = _addresses(filter(_by_icmp, over_udp))
    patient = {str(item.server) for item in seen.silences if item.sent >= MIN_TRANSMISSIONS}
    patient |= _addresses(filter(_timed_out, over_udp))
    silent = _hosts(patient - refused)
    on_streams = _hosts(_addresses(server for server in servers if server.transport != "udp" and server.reachable))
    if not asked:
        reason["udp"] = "no server of this family to ask"
    elif asked - refused - patient:
        reason["udp"] = "the test was cut short"
    elif silent & on_streams:
        reason["udp"] = "silent over UDP, while the same host answers over TCP"
        return False
    elif len(silent) >= 2:
        reason["udp"] = f"{len(silent)} servers are silent"
        return False
    elif refused:
        reason["udp"] = "the server is there and refuses (ICMP): it may be down"
    else:
        reason["udp"] = "one silent server: it may be down; name a second one"
    return None


def _addresses(servers: Iterable[ServerReport]) -> set[str]:
    return {server.address for server in servers if server.address is not None}


def _hosts(addresses: Iterable[str]) -> set[str]:
    return {Address.parse(address).host for address in addresses}


def _by_icmp(server: ServerReport) -> bool:
    return (server.error or "").startswith(("refused", "unreachable"))


def _is_heard(server: ServerReport) -> bool:
    """An echo server, or any other service than STUN: its packets pass all the same."""
    return (server.error or "").startswith("not-stun")


def _timed_out(server: ServerReport) -> bool:
    return server.reachable is False and (server.error or "").startswith("timeout")


def _behind_nat(seen: NatObservations, reason: dict[str, str]) -> bool | None:
    if not seen.samples:
        reason["behind_nat"] = _NO_ANSWER
        return None
    return any(sample.mapped.host not in seen.local_hosts for sample in seen.samples)


def _mapping(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> Behavior | None:
    if behind is not True:
        reason["mapping"] = _NO_NAT if behind is False else _NO_ANSWER
        return None
    mapped = {sample.server: sample.mapped for sample in seen.samples if sample.test == "mapping"}
    hosts = {server.host for server in mapped}
    same_host = [pair for pair in combinations(mapped, 2) if pair[0].host == pair[1].host]
    if any(mapped[one] != mapped[two] for one, two in same_host):
        return Behavior.ADDRESS_AND_PORT_DEPENDENT
    if len(hosts) < 2:
        reason["mapping"] = "only one server address answered: name a second server on another IP address"
        return None
    if len(set(mapped.values())) == 1:
        return Behavior.ENDPOINT_INDEPENDENT
    if not same_host:
        reason["mapping"] = "address-dependent at least: no server answered on a second port, which would tell more"
    return Behavior.ADDRESS_DEPENDENT


def _filtering(seen: NatObservations, reason: dict[str, str]) -> Behavior | None:
    """RFC 5780 §4.4, one server at a time; what let a packet through is believed before what did not."""
    best: Behavior | None = None
    why = "no server with RFC 5780 answered" if seen.samples else _NO_ANSWER
    for server in dict.fromkeys(trial.server for trial in seen.filters):
        found, text = _filtering_at(seen, server)
        if found is None:
            why = text
        elif best is None or found.strictness < best.strictness:
            best = found
    if best is None:
        reason["filtering"] = why
    return best


def _filtering_at(seen: NatObservations, server: Address) -> tuple[Behavior | None, str]:
    trials = {trial.change: trial for trial in seen.filters if trial.server == server}
    far, near = trials.get(Change.IP | Change.PORT), trials.get(Change.PORT)
    if far is None or near is None:
        return None, f"server {server} was not asked"
    other = far.other or near.other
    error = far.error or near.error
    if not (far.control and near.control):
        return None, f"server {server} answers with error {error}" if error else f"server {server} did not answer"
    if other is None:
        return None, f"server {server} has no OTHER-ADDRESS (RFC 5780)"
    if (flaw := alternate_flaw(server, other)) is not None:
        return None, f"server {server} names {other} as its other address, {flaw}"
    if error is not None:
        return None, f"server {server} refuses CHANGE-REQUEST (error {error})"
    sources = [source for source in (far.source, near.source) if source is not None]
    if server in sources:
        return None, f"server {server} ignores CHANGE-REQUEST and answers from the same address"
    # The sockets of this test sent to ``server`` alone, so whatever else got through was not waited for.
    if any(source.host != server.host for source in sources):
        return Behavior.ENDPOINT_INDEPENDENT, ""
    if far.source is not None:
        return None, f"server {server} answers from {far.source} when it is asked to answer from {other}"
    # A silence means something only if the address that should have answered is known to reach us.
    answered = {sample.server for sample in seen.samples}
    if other not in answered:
        return None, f"the other address of server {server}, {other}, does not answer at all"
    # RFC 5780 §6.1: asked at its alternate address a server names the primary one; coturn 4.6 names what was asked.
    # Anything else is a stranger's server, whose answers prove nothing.
    names = dict(seen.others).get(other)
    if names is None or names.host not in (server.host, other.host):
        return None, f"server {server} names {other} as its other address, which is another server"
    if far.sent < MIN_TRANSMISSIONS:
        return None, f"the test with server {server} was cut short"
    if sources:
        return Behavior.ADDRESS_DEPENDENT, ""
    if (beside := Address(server.host, other.port)) not in answered:
        return None, f"the other port of server {server}, {beside}, does not answer at all"
    if near.sent < MIN_TRANSMISSIONS:
        return None, f"the test with server {server} was cut short"
    return Behavior.ADDRESS_AND_PORT_DEPENDENT, ""


def _hairpinning(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> bool | None:
    if behind is not True:
        reason["hairpinning"] = _NO_NAT if behind is False else _NO_ANSWER
    elif seen.hairpin is None:
        reason["hairpinning"] = "the two sockets of the test did not learn their mapped addresses"
    elif seen.hairpin.received:
        return True
    elif seen.hairpin.sent >= MIN_TRANSMISSIONS:
        return False
    else:
        reason["hairpinning"] = "the test was cut short"
    return None


def _first_contacts(seen: NatObservations) -> list[Sample]:
    """One sample per socket, that of its first request, in the order of sending."""
    firsts: dict[Address, Sample] = {}
    for sample in sorted(seen.samples, key=lambda item: item.order):
        firsts.setdefault(sample.local, sample)
    return list(firsts.values())


def _ports(
    seen: NatObservations, behind: bool | None, reason: dict[str, str]
) -> tuple[PortAssignment | None, int | None]:
    if behind is not True:
        reason["port_assignment"] = _NO_NAT if behind is False else _NO_ANSWER
        return None, None
    firsts = _first_contacts(seen)
    kept = sum(sample.mapped.port == sample.local.port for sample in firsts)
    if len(firsts) >= 3 and 2 * kept > len(firsts):
        return PortAssignment.PRESERVING, None
    burst = [sample.mapped for sample in firsts if sample.test in BURST]
    if len(burst) < MIN_SEQUENTIAL_SAMPLES:
        reason["port_assignment"] = f"fewer than {MIN_SEQUENTIAL_SAMPLES} sockets were answered"
        return None, None
    # A NAT with several public addresses counts over all of them, or at each of them.
    by_host = sorted(burst, key=lambda mapped: mapped.host)
    step = _step([[mapped.port for mapped in burst]]) or _step(
        [[mapped.port for mapped in group] for _, group in groupby(by_host, key=lambda mapped: mapped.host)]
    )
    return (PortAssignment.RANDOM, None) if step is None else (PortAssignment.SEQUENTIAL, step)


def _step(rows: list[list[int]]) -> int | None:
    """The step from port to port, in the order of sending; ``None`` if there is none.

    A third of the gaps may be large or go back: the port range ended, or a first transmission was lost before it
    reached the NAT, which then saw that socket later than the others.
    """
    gaps = [two - one for row in rows for one, two in pairwise(row)]
    near = [gap for gap in gaps if 0 < abs(gap) <= MAX_SEQUENTIAL_GAP]
    forward = sum(gap > 0 for gap in near)
    agreeing = max(forward, len(near) - forward)
    if len(gaps) < MIN_SEQUENTIAL_SAMPLES - 1 or 3 * agreeing < 2 * len(gaps):
        return None
    return gcd(*near) if 2 * forward > len(near) else -gcd(*near)


def _pooling(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> Pooling | None:
    if behind is not True:
        reason["address_pooling"] = _NO_NAT if behind is False else _NO_ANSWER
        return None
    firsts = _first_contacts(seen)
    if len(firsts) < 3:
        reason["address_pooling"] = "fewer than three sockets were answered"
        return None
    return Pooling.PAIRED if len({sample.mapped.host for sample in seen.samples}) == 1 else Pooling.ARBITRARY


def _parity(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> bool | None:
    if behind is not True:
        reason["parity"] = _NO_NAT if behind is False else _NO_ANSWER
        return None
    firsts = _first_contacts(seen)
    if any((sample.mapped.port - sample.local.port) % 2 for sample in firsts):
        return False
    if len(firsts) < MIN_PARITY_SAMPLES:
        reason["parity"] = f"fewer than {MIN_PARITY_SAMPLES} sockets were answered"
        return None
    return True


def _alg(seen: NatObservations, reason: dict[str, str]) -> bool | None:
    """RFC 8489 §14.2: XOR-MAPPED-ADDRESS exists because gateways rewrite addresses that they find in payloads."""
    if seen.rewritten:
        return True
    both = [sample for sample in seen.samples if sample.plain is not None]
    if not both:
        reason["alg"] = "no server sent MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS" if seen.samples else _NO_ANSWER
        return None
    return any(sample.plain != sample.mapped for sample in both)


def _cgnat(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> bool | None:
    """A shared address (RFC 6598) on either side of our NAT is the only sure sign that can be seen from here."""
    mapped = {sample.mapped.host for sample in seen.samples}
    gateway = seen.gateway_address
    hosts = {*seen.local_hosts, *mapped, *filter(None, (gateway,))}
    if any(classify_host(host) is AddressClass.CGNAT for host in hosts):
        return True
    if behind is False or (gateway in mapped and classify_host(gateway or "") is not AddressClass.PRIVATE):
        return False
    if gateway is not None:
        reason["cgnat"] = f"the gateway's own address outside is {gateway}; what follows may be a carrier's NAT"
    else:
        reason["cgnat"] = "no shared address (100.64.0.0/10) is seen from here; the gateway may have one"
    return None


def _nats(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> int | None:
    if behind is False:
        return 0
    gateway = seen.gateway_address
    mapped = {sample.mapped.host for sample in seen.samples}
    if behind is None:
        reason["nats"] = _NO_ANSWER
    elif gateway is None:
        reason["nats"] = "one at least; how many cannot be seen from here"
    elif gateway in mapped:
        return 1
    elif scope_of(gateway) < scope_of(min(mapped, key=scope_of)):
        reason["nats"] = f"two at least: the gateway's own address outside is {gateway}, which is not public"
        return 2
    else:
        # A router with two uplinks names one of them.
        seen_as = ", ".join(sorted(mapped))
        reason["nats"] = f"the gateway says that its address is {gateway}, a server saw {seen_as}: two, or two uplinks"
    return None


def _lifetime(seen: NatObservations, behind: bool | None, reason: dict[str, str]) -> float | None:
    """The longest idle time that a binding survived, if a longer one did not. It holds for a firewall as well."""
    alive = max((trial.idle for trial in seen.lifetime if trial.alive), default=None)
    gone = min((trial.idle for trial in seen.lifetime if not trial.alive), default=None)
    if alive is None and gone is None:
        not_asked = _NO_NAT if behind is False else "not asked for (--lifetime)"
        reason["binding_lifetime"] = seen.lifetime_reason or not_asked
    elif gone is None:
        reason["binding_lifetime"] = f"more than {alive:g} s, the longest time that was waited"
    elif alive is None:
        reason["binding_lifetime"] = f"less than {gone:g} s, the shortest time that was waited"
    elif gone < alive:
        reason["binding_lifetime"] = f"contradictory: gone after {gone:g} s, and another one there after {alive:g} s"
    else:
        reason["binding_lifetime"] = f"between {alive:g} and {gone:g} s"
        return alive
    return None


def _tests(seen: NatObservations) -> tuple[NatTest, ...]:
    """What was sent and answered, summed by test."""
    rows: dict[str, list[tuple[int, int, float]]] = {}
    for sample in seen.samples:
        rows.setdefault(sample.test, []).append((sample.sent, 1, sample.seconds))
    for silence in seen.silences:
        rows.setdefault(silence.test, []).append((silence.sent, 0, silence.seconds))
    for trial in seen.filters:
        name = "filtering-port" if trial.change == Change.PORT else "filtering-address"
        rows.setdefault(name, []).append((trial.sent, int(trial.source is not None), trial.seconds))
    if seen.hairpin is not None:
        rows["hairpinning"] = [(seen.hairpin.sent, seen.hairpin.received, seen.hairpin.seconds)]
    return tuple(
        NatTest(name, sum(row[0] for row in found), sum(row[1] for row in found), max(row[2] for row in found))
        for name, found in rows.items()
    )
