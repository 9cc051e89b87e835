"""Numbers in the settings that cannot work are refused at the start, by name."""

from __future__ import annotations

import pytest

from mtls_operator.controller.settings import SettingsError, from_environ


@pytest.mark.parametrize("variable", ["MTLS_HEALTH_PORT", "MTLS_METRICS_PORT", "MTLS_DISCOVERY_PORT"])
@pytest.mark.parametrize("value", ["0", "-1", "65536", "1e3", "0x50"])
def test_a_port_that_is_none_is_refused(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        from_environ({variable: value})


@pytest.mark.parametrize("value", ["0", "-4", "100000"])
def test_without_workers_nothing_would_ever_be_done(value: str) -> None:
    with pytest.raises(SettingsError, match="MTLS_WORKERS"):
        from_environ({"MTLS_WORKERS": value})


@pytest.mark.parametrize(("variable", "value"), [("MTLS_HEALTH_PORT", "65535"), ("MTLS_WORKERS", "1")])
def test_the_bounds_themselves_are_allowed(variable: str, value: str) -> None:
    from_environ({variable: value})
