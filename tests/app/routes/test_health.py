import threading

from fastapi.testclient import TestClient

from tests.app.fakes import PHOTO, HeldEngine, app_with


def test_a_loaded_service_is_alive_and_ready(client: TestClient) -> None:
    for path in ("/livez", "/readyz"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_after_its_stop_the_service_is_not_ready(client: TestClient) -> None:
    app = app_with(HeldEngine())
    with TestClient(app) as stopped:
        assert stopped.get("/readyz").status_code == 200
    outside = TestClient(app)
    assert outside.get("/livez").status_code == 200
    assert outside.get("/readyz").status_code == 503


def test_health_is_answered_while_detections_run() -> None:
    engine = HeldEngine()
    with TestClient(app_with(engine)) as client:
        answers: list[int] = []
        # more than there are worker threads of any kind
        senders = [
            threading.Thread(target=lambda: answers.append(client.post("/detect", content=PHOTO).status_code))
            for _ in range(8)
        ]
        for sender in senders:
            sender.start()
        assert engine.started.wait(20)
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert not engine.finished.is_set()
        assert answers == []
        engine.release.set()
        for sender in senders:
            sender.join(20)
        assert answers == [200] * 8
