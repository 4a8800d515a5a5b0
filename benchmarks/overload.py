"""Answers and latency at four times the service's capacity: `python -m benchmarks.overload`.

Requests arrive at their due times, even if earlier ones are unanswered. The service should answer each accepted request
before its deadline and refuse the others. Health checks run at the same time.
"""

import argparse
import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.load import capacity, paced, saturate
from benchmarks.servers import Server, service
from benchmarks.serving import photos


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=float, default=4, help="load as a multiple of the capacity")
    parser.add_argument("--timeout", type=float, default=1, help="deadline of a request, s")
    parser.add_argument("--queue", type=int, default=64, help="largest number of waiting requests")
    options = parser.parse_args()
    pictures = photos()
    settings = {"RENDERSIGHT_REQUEST_TIMEOUT_S": str(options.timeout), "RENDERSIGHT_QUEUE_SIZE": str(options.queue)}
    with service(options.model, settings) as server:
        most = capacity(server.port, pictures)
        rate = options.times * most
        with _watched(server) as (health_s, resident_mb):
            load = paced(server.port, pictures, rate=rate, count=round(rate * options.seconds), seed=0, concurrency=400)
        after = saturate(server.port, pictures, concurrency=8, count=100)
        print(f"capacity {most:.1f}/s, asked {rate:.0f}/s for {load.seconds:.0f} s, deadline {options.timeout:g} s")
        print(f"answers by status: {load.by_status}; {load.by_status.get(200, 0) / load.seconds:.1f} of 200 a second")
        p50, p99 = (load.percentile(share, 200) for share in (0.5, 0.99))
        print(f"accepted: p50 {p50:.3f} s, p99 {p99:.3f} s, deadline {options.timeout:g} s")
        print(f"refused: p50 {load.percentile(0.5, 503):.3f} s, p99 {load.percentile(0.99, 503):.3f} s")
        health_ms = [1000 * value for value in health_s]
        print(f"/livez: p50 {statistics.median(health_ms):.1f} ms, worst {max(health_ms):.1f} ms of {len(health_ms)}")
        tenth = max(1, len(resident_mb) // 10)
        print(f"memory: {resident_mb[tenth]:.0f} MB after a tenth, {resident_mb[-1]:.0f} MB at the end")
        print(f"afterwards: {after.rate:.1f}/s, {after.failures} failures")


@contextmanager
def _watched(server: Server) -> Iterator[tuple[list[float], list[float]]]:
    """Check health ten times per second in the background; yield the lists of durations, s, and of memory, MB."""
    took_s: list[float] = []
    resident_mb: list[float] = []
    done = threading.Event()

    def watch() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not done.wait(0.1):
            began = time.perf_counter()
            connection.request("GET", "/livez")
            answer = connection.getresponse()
            answer.read()
            took_s.append(time.perf_counter() - began if answer.status == http.client.OK else 30.0)
            resident_mb.append(server.resident_mb())
        connection.close()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield took_s, resident_mb
    finally:
        done.set()
        watching.join()


if __name__ == "__main__":
    main()
