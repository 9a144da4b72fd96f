"""Whether the peer still wants what we send (RFC 7675), and whether it is heard at all."""

from __future__ import annotations

from collections.abc import Callable

from icekit.checklist import CandidatePair
from icekit.ice_config import IceConfig


class Consent:
    """Consent of the pairs in use, and when each component was last heard; ``token_bytes`` spreads the checks."""

    def __init__(self, config: IceConfig, token_bytes: Callable[[int], bytes]) -> None:
        self._config = config
        self._token_bytes = token_bytes
        self.last_heard: dict[int, float] = {}

    def use(self, pair: CandidatePair, now: float) -> None:
        """Data uses this pair: it is checked from now on."""
        if pair.consent_at is None:
            self.checked(pair, now)

    def checked(self, pair: CandidatePair, now: float) -> None:
        """A check of the pair leaves now; the next one follows."""
        # RFC 7675 §5.1: 0.8 to 1.2 of the interval, so that agents do not beat together.
        pair.consent_at = now + self._config.consent_interval * (0.8 + 0.4 * self._token_bytes(1)[0] / 255)

    def answered(self, pair: CandidatePair, now: float) -> None:
        """RFC 7675 §5.1: any authenticated answer renews the consent."""
        self.last_heard[pair.component] = now
        pair.answered_at = now
        pair.consent_until = now + self._config.consent_timeout

    def due(self, pair: CandidatePair) -> float:
        """When the pair wants its next check."""
        assert pair.consent_at is not None
        # Silence: several checks in the time that is left before it counts as a disconnection. Each must have time for
        # its answer.
        config = self._config
        quiet = max(1.0, min(config.quiet, config.disconnected_after - 2 * (pair.rtt or 0.0)))
        heard, asked = self.last_heard[pair.component] + quiet, pair.last_check + config.retry_limit
        early = heard if heard > asked else asked
        return early if early < pair.consent_at else pair.consent_at

    def silent_at(self, component: int) -> float:
        """When its silence is shown, if nothing more comes."""
        return self.last_heard[component] + self._config.disconnected_after
