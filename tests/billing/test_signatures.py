"""Signatures that the receivers' own library accepts, whatever form a secret has."""

import base64
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import standardwebhooks

from organism import ConfigError
from organism.billing.signatures import all_keys, keys_of, signatures
from organism.billing.webhook import Webhook
from organism.config.build.exporters import exports
from organism.config.load import load_config
from organism.usage.cloudevents import envelope
from organism.usage.events import ThreadOpened

RAW = bytes(range(24))
KEY = base64.b64encode(RAW).decode()
ODD = bytes(range(200, 226))


def check(receiver: standardwebhooks.Webhook, keys: tuple[bytes, ...]) -> None:
    body, now = b'{"a": "\xc3\xa4"}', str(int(time.time()))
    signed = {"webhook-id": "m", "webhook-timestamp": now, "webhook-signature": signatures(keys, "m", now, body)}
    assert receiver.verify(body, signed) == {"a": "ä"}


@pytest.mark.parametrize(
    "secret",
    [
        f"whsec_{KEY}",
        KEY,
        f"whsec_{base64.b64encode(ODD).decode()}",
        f"whsec_{base64.b64encode(ODD).decode().rstrip('=')}",
        f"  whsec_{KEY}\n",
        "a secret of words, that is no base64 but is read as such",
        "s3cret",
    ],
)
def test_library_of_the_specification_accepts_what_we_sign(secret: str) -> None:
    """A receiver that gives the same secret to the specification's library takes our requests."""
    check(standardwebhooks.Webhook(secret.strip()), keys_of(secret))


@pytest.mark.parametrize("secret", [KEY, "s3cret", "a secret of words, which is no base64", "ключ", "a-b_c"])
def test_receiver_that_reads_a_bare_secret_by_its_letters_accepts_it_too(secret: str) -> None:
    """Without the prefix a secret is as often the key itself."""
    check(standardwebhooks.Webhook(secret.encode()), keys_of(secret))


def test_alphabet_of_addresses_is_the_same_key() -> None:
    """A secret that was made for addresses stands for the same bytes."""
    check(standardwebhooks.Webhook(ODD), keys_of("whsec_" + base64.urlsafe_b64encode(ODD).decode()))


def test_old_and_new_secret_are_good_while_receivers_change_over() -> None:
    """A request is signed with both, and each receiver finds its own."""
    keys = all_keys([f"whsec_{KEY}", f"whsec_{base64.b64encode(ODD).decode()}"])

    check(standardwebhooks.Webhook(f"whsec_{KEY}"), keys)
    check(standardwebhooks.Webhook(ODD), keys)
    with pytest.raises(standardwebhooks.WebhookVerificationError, match="matching signature"):
        check(standardwebhooks.Webhook(b"another"), keys)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_äöü", "whsec_abcde", "whsec_ "])
@pytest.mark.parametrize("key", ["secret", "old_secrets"])
def test_secret_that_signs_nothing_is_refused_by_its_line(tmp_path: Path, key: str, secret: str) -> None:
    """The check names file and line, and does not show the secret."""
    file = tmp_path / "organism.yaml"
    value = '"${env:HOOK}"' if key == "secret" else '["${env:HOOK}"]'
    file.write_text(
        "name: n\nentry: a\nagents:\n  a: {handler: a.b}\n"
        f'exporters:\n  hook:\n    type: webhook\n    url: "https://x.example"\n    {key}: {value}\n'
    )

    with pytest.raises(ConfigError, match=r"organism\.yaml:9") as refused:
        exports(load_config(file, {"HOOK": secret}), lambda: 0)

    assert secret == "whsec_" or secret not in str(refused.value)


@pytest.mark.anyio
async def test_request_on_the_wire_is_verified() -> None:
    """Headers and body as a real receiver gets them pass the library's check."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/", time.time_ns, secret=f"whsec_{KEY}")
    await hook.deliver([envelope(ThreadOpened(thread_id="t", root_thread_id="t", entry="a", id="1"), "urn:x")])
    await hook.aclose()
    server.shutdown()
    server.server_close()
    thread.join()

    ((headers, body),) = got
    assert standardwebhooks.Webhook(f"whsec_{KEY}").verify(body, headers)[0]["id"] == "1"
