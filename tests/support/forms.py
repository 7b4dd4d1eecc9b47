"""The forms of a page as a browser sees them: what is posted comes out of the HTML, nothing is made up by a test."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

from tests.support.people import Browser


@dataclass
class Control:
    """A field as it stands on the page. on: whether a browser would send it (a ticked box, any text)."""

    name: str
    value: str
    on: bool = True


@dataclass
class Button:
    label: str
    name: str
    value: str
    action: str


@dataclass
class Form:
    """A form that posts. press() sends it by one of its buttons."""

    page: str
    action: str
    controls: list[Control] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)

    def set(self, name: str, value: str) -> None:
        """Types into a text field, or chooses an option that the page really offers."""
        same = [control for control in self.controls if control.name == name]
        offered = [control for control in same if control.value == value]
        assert same, f"the form has no {name}"
        if len(same) == 1:
            same[0].value, same[0].on = value, True
            return
        assert offered, f"{name} offers {[control.value for control in same]}"
        for control in same:
            control.on = control in offered

    def tick(self, name: str, *values: str) -> None:
        """Ticks those boxes and no others."""
        boxes = [control for control in self.controls if control.name == name]
        assert set(values) <= {box.value for box in boxes}
        for box in boxes:
            box.on = box.value in values

    def press(self, browser: Browser, label: str):
        """Submits by the button with that text, as a browser does, and follows no redirect."""
        (button,) = [button for button in self.buttons if button.label == label]
        pairs = [(control.name, control.value) for control in self.controls if control.on and control.name]
        pairs += [(button.name, button.value)] if button.name else []
        data: dict[str, list[str]] = {}
        for name, value in pairs:
            data.setdefault(name, []).append(value)
        return browser.client.post(urljoin(self.page, button.action or self.action or self.page), data=data)


def forms_of(browser: Browser, path: str) -> list[Form]:
    """The forms of the page that post."""
    return forms_in(browser.client.get(path).get_data(as_text=True), path)


def forms_in(text: str, path: str) -> list[Form]:
    """The forms of a page that has been answered already. path: where it came from."""
    reader = _Reader(path)
    reader.feed(text)
    return reader.forms


def form_with(browser: Browser, path: str, label: str, **fields: str) -> Form:
    """The one form of the page with a button of that text and these values in it."""
    found = [
        form for form in forms_of(browser, path)
        if any(button.label == label for button in form.buttons)
        and all(any((c.name, c.value) == pair for c in form.controls) for pair in fields.items())
    ]  # fmt: skip
    assert len(found) == 1, [[button.label for button in form.buttons] for form in forms_of(browser, path)]
    return found[0]


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.forms: list[Form] = []
        self._by_id: dict[str, Form] = {}
        self._open: Form | None = None
        self._select = ""
        self._button: Button | None = None
        self._later: list[tuple[str, Control]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("method", "").lower() == "post":
            self._open = Form(self.page, given.get("action", ""))
            self.forms.append(self._open)
            self._by_id[given.get("id", "")] = self._open
        elif tag == "input" and given.get("type") not in ("submit", "button"):
            boxed = given.get("type") in ("checkbox", "radio")
            self._put(given, Control(given.get("name", ""), given.get("value", "on" if boxed else ""),
                                     not boxed or "checked" in given))  # fmt: skip
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and self._select:
            self._put({}, Control(self._select, given.get("value", ""), "selected" in given))
        elif tag == "button" and given.get("type", "submit") == "submit" and self._open is not None:
            self._button = Button("", given.get("name", ""), given.get("value", ""), given.get("formaction", ""))
            self._open.buttons.append(self._button)

    def _put(self, given: dict[str, str], control: Control) -> None:
        if "form" in given:
            self._later.append((given["form"], control))
        elif self._open is not None:
            self._open.controls.append(control)

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._button.label = f"{self._button.label} {data.strip()}".strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = ""
        elif tag == "button":
            self._button = None
        elif tag == "html":
            for form_id, control in self._later:
                self._by_id[form_id].controls.append(control)
