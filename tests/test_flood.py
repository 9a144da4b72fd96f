"""Floods against the server: memory and tables stay within their bounds, every packet is counted, others are served."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable

from icekit.attributes import CHANNEL_NUMBER, NONCE, REQUESTED_TRANSPORT, XOR_PEER_ADDRESS
from icekit.net import Address
from icekit.stun import Class, Method, decode, indication, request
from tests.turn_client import CLIENT, PEER, Client, World, turn_server_config

UDP = REQUESTED_TRANSPORT(17)
PACKETS = 500


def grown(work: Callable[[], object]) -> int:
    """Bytes that are still held after ``work``."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def spoofed(number: int) -> Address:
    """Each from a /24 of its own."""
    return Address(f"11.{number >> 8 & 255}.{number & 255}.7", 1024 + number)


def test_a_flood_of_first_requests_keeps_nothing_but_the_bounded_table_of_rates() -> None:
    world = World(turn_server_config(), rate=1.0, burst=1.0, rate_table_size=64)
    asked = [request(Method.ALLOCATE, number.to_bytes(12), UDP).encode() for number in range(PACKETS)]
    answers = Counter[int]()

    def flood() -> None:
        for number, data in enumerate(asked):
            # Every network sends twice, which is once too much.
            for _ in range(2):
                answers.update(decode(sent.data).error().code for sent in world.receive(data, spoofed(number)))

    # 64 entries of a network's name and two numbers, and what was cached on the way.
    assert grown(flood) < 64 * 1024
    assert answers == {401: PACKETS}
    counters = world.server.counters
    assert (counters.answered, counters.rate_limited) == (PACKETS, PACKETS)
    assert sum(counters.to_dict().values()) == 2 * PACKETS
    assert (world.server.allocations, world.wanted, world.events, world.server.get_timer()) == (0, [], [], None)


def test_a_flood_of_nonces_is_told_from_ours_without_remembering_any() -> None:
    world = World(turn_server_config(), rate=1e6, burst=1e6, rate_table_size=64)
    honest = Client(world)
    honest.allocate()
    before = world.server.counters.answered
    forged = [
        request(Method.ALLOCATE, number.to_bytes(12), UDP, NONCE(number.to_bytes(8) * 4)) for number in range(PACKETS)
    ]
    answers = Counter[int]()

    def flood() -> None:
        for number, message in enumerate(forged):
            client = Client(world, source=spoofed(number))
            # RFC 8489 §14: of two attributes of a type the first counts, which is the forged one.
            data = client.signed(message).encode(client.key)
            answers.update(decode(sent.data).error().code for sent in world.receive(data, client.source))

    assert grown(flood) < 64 * 1024
    # The password was right, so each is told of a fresh nonce; nothing was allocated.
    assert answers == {438: PACKETS}
    assert world.server.counters.answered - before == PACKETS
    assert world.server.allocations == 1
    assert honest.ask(Method.REFRESH).message_class is Class.SUCCESS


def test_a_flood_of_wrong_passwords_costs_its_sender_tokens() -> None:
    world = World(turn_server_config(), rate=1.0, burst=100.0)
    forger = Client(world, password="guessed", source=Address("203.0.113.6", 9))
    forger.challenge()
    honest = Client(world, source=Address("198.18.0.1", 9))
    relayed = honest.allocate()
    codes = Counter(answer.error().code for _ in range(500) for answer in forger.ask_all(Method.ALLOCATE, UDP))
    assert codes == {401: 99}
    assert world.server.counters.rate_limited == 401
    assert world.server.allocations == 1
    assert relayed in world.bound
    assert honest.ask(Method.REFRESH).message_class is Class.SUCCESS


def test_a_user_who_allocates_without_end_gets_what_one_user_may_have() -> None:
    world = World(turn_server_config(max_allocations_per_user=10, max_allocations=15), rate=1e6, burst=1e6)
    greedy = [Client(world, source=Address("203.0.113.7", port)) for port in range(1000, 1300)]
    codes = Counter[int]()

    def flood() -> None:
        for client in greedy:
            client.challenge()
            answer = client.ask(Method.ALLOCATE, UDP)
            codes[0 if answer.message_class is Class.SUCCESS else answer.error().code] += 1

    assert grown(flood) < 256 * 1024
    assert codes == {0: 10, 486: 290}
    assert (world.server.allocations, len(world.bound)) == (10, 10)
    # Another user still has room, up to what the server has in all.
    others = [Client(world, username="bob", password="hunter2", source=Address("203.0.113.8", n)) for n in range(1, 8)]
    for client in others:
        client.challenge()
    answers = [client.ask(Method.ALLOCATE, UDP) for client in others]
    assert Counter(answer.message_class for answer in answers) == {Class.SUCCESS: 5, Class.ERROR: 2}
    assert {answer.error().code for answer in answers if answer.message_class is Class.ERROR} == {508}
    # RFC 8656 §7.2: nobody refreshes, so all of it is gone after the default lifetime.
    world.run_until(world.now + 602.0)
    assert (world.server.allocations, world.bound, world.server.get_timer()) == (0, set(), None)


def test_allocations_whose_sockets_do_not_open_count_like_others() -> None:
    world = World(turn_server_config(max_allocations_per_user=10), rate=1e6, burst=1e6)
    world.open_sockets = False
    codes = Counter[int]()
    for port in range(1000, 1200):
        client = Client(world, source=Address("203.0.113.7", port))
        client.challenge()
        codes.update(answer.error().code for answer in client.ask_all(Method.ALLOCATE, UDP))
    assert codes == {486: 190}
    assert (world.server.allocations, len(world.wanted)) == (10, 10)
    world.run_until(world.now + 602.0)
    assert (world.server.allocations, world.server.get_timer()) == (0, None)


def test_permissions_and_channels_of_one_allocation_are_bounded() -> None:
    world = World(turn_server_config(max_permissions=20, max_channels=10), rate=1e6, burst=1e6)
    client = Client(world)
    client.allocate()
    codes = Counter[int]()
    for number in range(300):
        peer = XOR_PEER_ADDRESS(Address(f"203.0.114.{number % 250}", 1000 + number))
        for method, items in (
            (Method.CREATE_PERMISSION, (peer,)),
            (Method.CHANNEL_BIND, (CHANNEL_NUMBER(0x4000 + number), peer)),
        ):
            answer = client.ask(method, *items)
            codes[0 if answer.message_class is Class.SUCCESS else answer.error().code] += 1
    assert set(codes) == {0, 508}
    (allocation,) = world.server._turn.allocations.values()  # type: ignore[union-attr]
    assert (len(allocation.permissions), len(allocation.by_number), len(allocation.by_peer)) == (20, 10, 10)


def test_what_nobody_asked_for_is_counted_and_goes_nowhere() -> None:
    world = World(turn_server_config(), rate=1e6, burst=1e6)
    client = Client(world)
    relayed = client.allocate()
    before = world.server.counters.to_dict()
    stray = indication(Method.SEND, bytes(12), XOR_PEER_ADDRESS(PEER)).encode()
    floods: dict[str, Callable[[int], object]] = {
        "no_permission": lambda number: world.receive(b"x" * 100, spoofed(number), relayed),
        "no_channel": lambda number: world.receive(b"\x40\x01\x00\x04data", CLIENT),
        "no_allocation": lambda number: world.receive(b"\x40\x01\x00\x04data", spoofed(number)),
        "garbage": lambda number: world.receive(bytes([0xFF]) * 50, spoofed(number)) or world.receive(stray, CLIENT),
    }
    for send in floods.values():
        for number in range(1000):
            assert not send(number)
    after = world.server.counters.to_dict()
    changed = {name: count - before[name] for name, count in after.items() if count != before[name]}
    assert changed == {"no_permission": 1000, "no_channel": 1000, "no_allocation": 1000, "garbage": 2000}
    assert client.ask(Method.REFRESH).message_class is Class.SUCCESS
