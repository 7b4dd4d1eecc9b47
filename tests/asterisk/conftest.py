"""A real Asterisk of each version, started once, and real phones around it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pbxhub.testing.pbx.asterisk import PASSWORD, Asterisk, running_asterisk
from pbxhub.testing.phones.softphone import Agent
from tests.support.watch import Watch


@pytest.fixture(scope="session", params=[22, 16])
def running(request: pytest.FixtureRequest) -> Iterator[Asterisk]:
    with running_asterisk(request.param) as asterisk:
        yield asterisk


@pytest.fixture
def pbx(running: Asterisk, request: pytest.FixtureRequest) -> Iterator[Asterisk]:
    """The Asterisk of this session, idle before and after the test; its log is shown when the test fails."""
    running.wait_idle()
    yield running
    if getattr(request.node, "failed", False):
        print(running.last_lines(150))
    running.cli("channel request hangup all")
    running.wait_idle()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]
    return report


@pytest.fixture
def watch(pbx: Asterisk) -> Iterator[Watch]:
    """What the hub's own parser and tracker make of the calls of this test."""
    watching = Watch(pbx)
    yield watching
    watching.close()


@pytest.fixture
def phones(pbx: Asterisk) -> Iterator[ExitStack]:
    with ExitStack() as started:
        yield started


@pytest.fixture
def phone(pbx: Asterisk, phones: ExitStack) -> Callable[..., Agent]:
    """phone(101): a registered phone of an employee."""

    def start(extension: int, **options: bool) -> Agent:
        address = pbx.network.address(extension)
        return phones.enter_context(Agent(str(extension), pbx.address, PASSWORD, address=address, **options))

    return start


@pytest.fixture
def outside(pbx: Asterisk, phones: ExitStack) -> Callable[..., Agent]:
    """outside("79161234567"): somebody who calls from outside."""
    hosts = iter(range(2, 10))

    def start(number: str = "79161234567", name: str = "") -> Agent:
        address = pbx.network.address(next(hosts))
        return phones.enter_context(Agent(number, pbx.address, address=address, display_name=name))

    return start


@pytest.fixture
def far_end(pbx: Asterisk, phones: ExitStack) -> Callable[..., Agent]:
    """far_end(): the phone at the other end of a trunk; it has the number 1555<trunk>001."""

    def start(trunk: int = 0, **options: bool) -> Agent:
        line = pbx.trunk(trunk)
        return phones.enter_context(Agent(line.outside_number(), pbx.address, address=line.address, **options))

    return start
