import time

from model_store.pace import Pace


def test_pauses_as_long_as_a_step_took() -> None:
    pace = Pace(share=0.5)
    began_s = time.monotonic()
    time.sleep(0.02)
    pace.step()
    assert time.monotonic() - began_s >= 0.04
