from pathlib import Path
from typing import get_args

import pytest

from app.settings import PREFIX, InvalidSetting, Settings, accepted, read_settings, variable
from model_store.engines import ENGINES


def test_defaults_come_from_an_empty_environment() -> None:
    settings = read_settings()
    assert (settings.model, settings.host, settings.port) == ("dice", "127.0.0.1", 8000)
    assert settings.score_threshold is None
    assert settings.labels is None


def test_every_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "model": ("dice@2", "dice@2"),
        "model_store": ("/models", None),
        "labels": (" one, two ,three", ("one", "two", "three")),
        "device": ("cuda:1", "cuda:1"),
        "engine": ("torch-fp32", "torch-fp32"),
        "streams": ("3", 3),
        "cache_dir": ("/cache", Path("/cache")),
        "score_threshold": ("0.25", 0.25),
        "detections_per_image": ("300", 300),
        "tiles": ("6", 6),
        "min_size": ("320", 320),
        "host": ("0.0.0.0", "0.0.0.0"),
        "port": ("9000", 9000),
        "max_bytes": ("1000", 1000),
        "max_pixels": ("2000", 2000),
        "upload_timeout_s": ("1.5", 1.5),
        "queue_size": ("5", 5),
        "request_timeout_s": ("2.5", 2.5),
        "decoders": ("3", 3),
        "max_batch_bytes": ("3000", 3000),
        "max_held_bytes": ("4000", 4000),
        "max_parts": ("5", 5),
        "max_part_header_bytes": ("200", 200),
        "max_header_bytes": ("2048", 2048),
        "drain_timeout_s": ("3.5", 3.5),
        "watchdog_s": ("4.5", 4.5),
        "watchdog_exit_s": ("0", 0),
        "reload_interval_s": ("0", 0),
        "api_keys_file": ("/keys", Path("/keys")),
        "cors_origins": ("https://a.example, http://b.example:81", ("https://a.example", "http://b.example:81")),
        "log_format": ("json", "json"),
    }
    assert set(given) == set(Settings.model_fields)
    for field, (text, _) in given.items():
        monkeypatch.setenv(variable(field), text)
    settings = read_settings()
    assert str(settings.model_store) == "/models"
    for field, (_, value) in given.items():
        assert value is None or getattr(settings, field) == value


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(variable(field), "")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", "abc"),
        ("port", "0"),
        ("port", "65536"),
        ("device", "gpu"),
        ("device", "cuda:"),
        ("device", "cpu\n"),
        ("engine", "tensorrt"),
        ("tiles", "0"),
        ("tiles", "65"),
        ("tiles", "yes"),
        ("score_threshold", "1.5"),
        ("score_threshold", "nan"),
        ("max_bytes", "0"),
        ("max_bytes", "20MB"),
        ("max_pixels", "-1"),
        ("upload_timeout_s", "0"),
        ("upload_timeout_s", "inf"),
        ("log_format", "xml"),
        ("cors_origins", "example.com"),
        ("cors_origins", "*, https://a.example"),
        ("reload_interval_s", "-1"),
        ("watchdog_s", "0"),
        ("labels", "one,,two"),
        ("labels", "one,one"),
    ],
)
def test_reports_an_invalid_value_in_one_line(monkeypatch: pytest.MonkeyPatch, field: str, value: str) -> None:
    monkeypatch.setenv(variable(field), value)
    with pytest.raises(InvalidSetting) as raised:
        read_settings()
    line = str(raised.value)
    assert "\n" not in line
    assert line.startswith(f"{variable(field)}={value!r} ")
    assert line.endswith(f"accepted: {accepted(Settings.model_fields[field])}")


@pytest.mark.parametrize("name", ["RENDERSIGHT_TRESHOLD", "RENDERSIGHT_", "rendersight_modell"])
def test_rejects_an_unknown_variable_with_the_prefix(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0.5")
    with pytest.raises(InvalidSetting, match=rf"^{name}='0.5' is not a setting; accepted: RENDERSIGHT_API_KEYS_FILE, "):
        read_settings()


def test_other_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENDERSIGHTED", "1")
    monkeypatch.setenv("PORT", "1")
    assert read_settings().port == 8000


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_has_a_description(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    assert accepted(field)
    assert variable(name).startswith(PREFIX)


def test_accepts_exactly_the_engines_of_the_store() -> None:
    assert set(get_args(Settings.model_fields["engine"].annotation)) == {"auto", *ENGINES}


def test_arguments_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("model"), "of-the-environment")
    monkeypatch.setenv(variable("queue_size"), "5")
    settings = read_settings({"model": "dice@3", "labels": "one, two", "streams": 2})
    assert (settings.model, settings.queue_size) == ("dice@3", 5)
    assert (settings.labels, settings.streams) == (("one", "two"), 2)


def test_names_an_invalid_argument() -> None:
    with pytest.raises(
        InvalidSetting, match=r"^queue_size=-1 is not accepted; accepted: a whole number from 0 to 10000$"
    ):
        read_settings({"queue_size": -1})
    with pytest.raises(InvalidSetting, match=r"^modell='dice' is not a setting; accepted: api_keys_file, cache_dir, "):
        read_settings({"modell": "dice"})
