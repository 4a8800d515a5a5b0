import time

from model_store.throttle import Throttle


def test_pauses_as_long_as_a_step_took() -> None:
    throttle = Throttle(share=0.5)
    began_s = time.monotonic()
    time.sleep(0.02)
    throttle.step()
    assert time.monotonic() - began_s >= 0.04
