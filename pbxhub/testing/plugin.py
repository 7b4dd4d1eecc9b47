"""The pytest plugin: the kit's fixtures, for the pytest runs that ask for them (`pytest -p pbxhub.testing.plugin`).

It imports nothing but pytest; the parts load when a test first asks for them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pbxhub import testing

if TYPE_CHECKING:
    from pbxhub.testing import Agent, Asterisk, Hub, MockServer, PlayedPbx, SeenDelivery, SeenStage


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pbxhub", "scenarios with pbxhub.testing")
    group.addoption(
        "--pbxhub-env-file", action="append", default=[], metavar="FILE", help="KEY=VALUE lines for env() of the kit"
    )
    group.addoption("--pbxhub-asterisk", type=int, default=22, metavar="VERSION", help="of the fixture: 22 or 16")
    group.addoption(
        "--pbxhub-database",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="where the fixture hub keeps its data; postgresql starts a server of its own",
    )
    group.addoption("--pbxhub-sip-trace", metavar="FILE", help="write the agents' SIP messages there, as a pcap")
    group.addoption("--pbxhub-save-audio", metavar="DIR", help="keep what each agent hears there, as WAV files")


def pytest_configure(config: pytest.Config) -> None:
    for file in config.getoption("--pbxhub-env-file"):
        testing.load_env(file)
    pcap = config.getoption("--pbxhub-sip-trace")
    if pcap and not hasattr(config, "workerinput"):
        capture = ExitStack()
        try:
            capture.enter_context(testing.capturing(Path(pcap)))
        except (testing.ProgramMissingError, testing.CaptureFailedError) as error:
            raise pytest.UsageError(f"--sip-trace: {error}") from None
        config.add_cleanup(capture.close)


@pytest.fixture
def mock_server() -> "Iterator[Callable[[int], MockServer]]":
    """mock_server(port=0) starts a MockServer; it stops with the test, which fails if a responder raised."""
    with ExitStack() as started:

        def start(port: int = 0) -> "MockServer":
            return started.enter_context(testing.MockServer(port))

        yield start


@pytest.fixture
def pbx_player() -> "Iterator[PlayedPbx]":
    """A PBX without telephony: plays recorded or hand-written calls to whoever logs in to its AMI."""
    with testing.PlayedPbx() as played:
        yield played


@pytest.fixture(scope="session")
def asterisk_of_the_run(request: pytest.FixtureRequest) -> "Iterator[Asterisk]":
    """The Asterisk that the scenarios of a run share; take `asterisk` instead."""
    try:
        with testing.running_asterisk(request.config.getoption("--pbxhub-asterisk")) as running:
            yield running
    except testing.AsteriskMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def asterisk(asterisk_of_the_run: "Asterisk") -> "Iterator[Asterisk]":
    """A real Asterisk with the DIDs, extensions and queues of the laboratory. Afterwards its calls are hung up."""
    yield asterisk_of_the_run
    asterisk_of_the_run.cli("channel request hangup all", check=False)
    asterisk_of_the_run.wait_idle()


@pytest.fixture
def agent(request: pytest.FixtureRequest) -> "Iterator[Callable[..., Agent]]":
    """agent(username, domain, password, …) starts a SIP phone (see Agent); it ends with the test."""
    measured = request.node.user_properties
    save_audio = request.config.getoption("--pbxhub-save-audio")
    phones: list[tuple[Agent, bool]] = []
    with ExitStack() as started:

        def start(username: str, domain: str, password: str = "", **options: Any) -> "Agent":
            try:
                phone = started.enter_context(testing.Agent(username, domain, password, **options))
            except testing.PhoneFailedError:
                measured.append(("agent", {"name": username, "registered": False}))
                raise
            phones.append((phone, bool(password)))
            return phone

        yield start
        for phone, registers in phones:
            measured.append(("agent", testing.measure(phone, registers)))
            if save_audio:
                phone.save_audio(Path(save_audio, request.node.name))


@pytest.fixture
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[Hub]":
    """A running hub with an empty project: hub.listen_to(pbx), hub.webhook(…), hub.stages(…), hub.deliveries(…)."""
    with ExitStack() as started:
        url = ""
        if request.config.getoption("--pbxhub-database") == "postgresql":
            url = started.enter_context(testing.postgres_server())
        yield started.enter_context(testing.Hub(tmp_path / "hub", url)).start()


@pytest.fixture
def webhook(hub: "Hub") -> "Callable[..., str]":
    """webhook(stage, url, …): sets a webhook up on the hub and returns its name."""
    return hub.webhook


@pytest.fixture
def deliveries(hub: "Hub") -> "Callable[..., list[SeenDelivery]]":
    """deliveries(webhook=…, call=…, state=…): what the hub sent or will send."""
    return hub.deliveries


@pytest.fixture
def stages(hub: "Hub") -> "Callable[..., list[SeenStage]]":
    """stages(call): the stages of a call in their order; stages() those of all calls."""
    return hub.stages
