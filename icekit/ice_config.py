"""How an ICE agent behaves: pace, patience and bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IceConfig:
    """How an agent behaves; times in seconds.

    ``ta``: between transactions (RFC 8445 §14.2). ``peer_ta``: assumed for a peer that proposes nothing.
    ``retry_floor``: a pair without an answer is checked again after this or 2 Ta, the larger, for ``retry_dense``
    seconds; then at intervals doubling to ``retry_limit``. ``patience``: no failure before (RFC 8863 §4).
    ``settle_factor`` and ``settle_limit``: how long the controlling side waits for a better pair before it nominates,
    in round-trip times and at most. ``nomination_timeout``: a nomination that nobody confirms is taken back after this
    or four round-trip times, the larger. ``consent_interval``, ``consent_timeout``: RFC 7675 §5.1.
    ``disconnected_after``: silence that is shown. ``quiet``: silence after which a check is sent early, so that a lost
    one is not taken for that. ``check_lifetime``: an answer counts for so long. The rest are bounds of what a peer can
    make grow.
    """

    components: int = 1
    ta: float = 0.005
    peer_ta: float = 0.02
    retry_floor: float = 0.02
    retry_dense: float = 1.0
    retry_limit: float = 0.5
    patience: float = 39.5
    settle_factor: float = 2.0
    settle_limit: float = 0.5
    nomination_timeout: float = 4.0
    consent_interval: float = 5.0
    consent_timeout: float = 30.0
    disconnected_after: float = 5.0
    quiet: float = 3.5
    check_lifetime: float = 30.0
    max_pairs: int = 100
    max_open_checks: int = 4096
    max_early_checks: int = 32
    max_early_data: int = 16
    max_pending_candidates: int = 64
    max_events: int = 1024
