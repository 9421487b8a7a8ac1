"""What the gateway takes for one plain request, by its first lines."""

import pytest

from server.deploy.gateway import check_request

pytestmark = pytest.mark.flower


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length: 5", ""),
        (b"POST /v1/control/start-run HTTP/1.1\r\nContent-Length: 5", "403"),
        (b"POST /v1/fleet/../control/start-run HTTP/1.1\r\nContent-Length: 5", "403"),
        (b"POST /v1/fleet/get-run?x HTTP/1.1\r\nContent-Length: 5", "403"),
        (b"POST http://h/v1/fleet/get-run HTTP/1.1\r\nContent-Length: 5", "403"),
        (b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6", "400"),
        (b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "400"),
        (b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length: 5\r\n folded: x", "400"),
        (b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length : 5", "400"),
        (b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length: 99", "413"),
    ],
)
def test_the_proxy_takes_one_plain_request_only(head: bytes, problem: str) -> None:
    assert check_request(head, 10)[0].startswith(problem) and bool(check_request(head, 10)[0]) == bool(problem)
