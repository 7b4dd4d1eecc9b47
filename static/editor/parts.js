// The sections of the form, from top to bottom.
import { area, box, button, check, el, labelled, remover, section, select, text, tool, touch, words } from "./dom.js";
import { filters } from "./filters.js";
import { tree } from "./tree.js";

export function when(state, data, redraw) {
  const { spec } = state;
  return section(
    words.when,
    el(
      "div",
      { class: "two" },
      labelled(
        words.eventName,
        text(state, "name", { maxlength: 200, "data-plain": "", placeholder: words.eventNameExample }),
        "name",
      ),
      labelled(
        words.setName,
        text(state, "set", { maxlength: 200, "data-plain": "", list: "set-names", placeholder: "—" }),
        "set",
        words.setNameHint,
      ),
      el("datalist", { id: "set-names" }, data.sets.map((name) => el("option", { value: name }))),
    ),
    stage(state, data, redraw),
    el("h3", { class: "part-title" }, words.filters),
    filters(spec.filters, state.stage, data, redraw),
    waits(state, data, redraw),
    !spec.steering &&
      labelled(words.delay, wholeNumber(spec.limits, "delay", 0, 86400), "limits.delay", words.delayHint),
  );
}

// The event in its group, and the sentence that says when it happens.
function stage(state, data, redraw) {
  const field = el(
    "select",
    {
      class: "form-select",
      onchange: (event) => {
        state.stage = event.target.value;
        touch();
        redraw();
      },
    },
    data.stageGroups.map(({ title, stages }) =>
      el("optgroup", { label: title }, stages.map(({ code, name }) => el("option", { value: code }, name)))
    ),
  );
  field.value = state.stage;
  const chosen = data.stageGroups.flatMap(({ stages }) => stages).find(({ code }) => code === state.stage);
  return labelled(words.stage, field, "stage", chosen?.when);
}

// Another event of the same call, whose answer this one needs.
function waits(state, data, redraw) {
  const { spec } = state;
  if (spec.steering || (!data.awaitable.length && !spec.wait_for)) return null;
  return el(
    "div",
    { class: "two" },
    labelled(
      words.waitFor,
      select(spec, "wait_for", [["", "—"], ...data.awaitable.map((name) => [name, name])], redraw),
      "wait_for",
      words.waitForHint,
    ),
    spec.wait_for &&
      labelled(
        words.unanswered,
        select(spec, "unanswered", [["send", words.unansweredSend], ["skip", words.unansweredSkip]]),
        "unanswered",
      ),
  );
}

export function where(state, data, redraw) {
  const { request } = state.spec;
  return section(
    words.where,
    el(
      "div",
      { class: "url-line" },
      labelled(words.method, select(request, "method", data.choices.method, redraw), "method"),
      labelled(
        words.url,
        text(request, "url", { placeholder: "https://crm.example.com/calls?source=pbx", inputmode: "url" }),
        "url",
      ),
    ),
    el(
      "div",
      { class: "two" },
      labelled(words.format, select(request, "format", data.choices.format, redraw), "format"),
      labelled(words.dates, select(request, "date_format", data.choices.dateFormat, redraw), "date_format"),
    ),
    request.date_format === "pattern" &&
      labelled(
        words.datePattern,
        text(request, "date_pattern", { placeholder: "%d.%m.%Y %H:%M", "data-plain": "" }),
        "date_pattern",
      ),
    pairs(words.headers, "headers", request.headers, redraw, contentType(request, redraw)),
    pairs(words.query, "query", request.query, redraw),
  );
}

const TYPES = {
  json: "application/json",
  "json-rpc": "application/json",
  form: "application/x-www-form-urlencoded",
  xml: "application/xml",
  raw: "text/plain",
  multipart: "multipart/form-data",
};

function contentType(request, redraw) {
  const kind = TYPES[request.format];
  const own = request.headers.some((header) => header.name.toLowerCase() === "content-type");
  if (!kind || own || request.method === "GET" || request.method === "HEAD" || request.method === "OPTIONS") {
    return null;
  }
  if (request.format === "multipart") {
    return fixedHeader(kind);
  }
  if (!request.content_type) {
    return button("plus", words.addContentType, () => {
      request.content_type = true;
      touch();
      redraw();
    });
  }
  return fixedHeader(
    kind,
    tool("pencil", words.change, () => {
      request.headers.unshift({ name: "Content-Type", value: kind, mandatory: false, empty: "" });
      touch();
      redraw();
    }),
    tool("trash", words.remove, () => {
      request.content_type = false;
      touch();
      redraw();
    }),
  );
}

function fixedHeader(kind, ...tools) {
  return el(
    "div",
    { class: "line fixed" },
    el("input", { class: "form-control", value: "Content-Type", readonly: true, "aria-label": words.name }),
    el("input", { class: "form-control", value: kind, readonly: true, "aria-label": words.value }),
    ...tools,
  );
}

function pairs(title, path, list, redraw, first = null) {
  return el(
    "div",
    { class: "pairs-part" },
    el("h3", { class: "part-title" }, title),
    first,
    list.map((item, index) =>
      el(
        "div",
        {},
        el(
          "div",
          { class: "line spot", "data-list": path, "data-index": index },
          text(item, "name", { placeholder: words.name, "aria-label": words.name, "data-plain": "" }),
          text(item, "value", { placeholder: words.value, "aria-label": words.value }),
          must(item),
          remover(list, index, redraw),
        ),
        el("div", { class: "spot-errors" }),
      )
    ),
    button("plus", words.add, () => {
      list.push({ name: "", value: "", mandatory: false, empty: "" });
      touch();
      redraw();
    }, { class: "btn btn-sm btn-ghost-secondary" }),
  );
}

export function what(state, data, redraw) {
  const { request } = state.spec;
  if (request.format === "none") return section(words.what, el("p", { class: "second" }, words.noBody));
  if (request.format === "raw") {
    return section(words.what, labelled(words.text, area(request, "text"), "text", words.textHint));
  }
  const root = {
    get children() {
      return request.parameters;
    },
    get type() {
      return request.top;
    },
  };
  const parts = [];
  if (request.format === "json-rpc") {
    parts.push(labelled(words.rpcMethod, text(request, "rpc_method", { placeholder: "call" }), "rpc_method"));
  }
  if (request.format === "xml") {
    parts.push(
      labelled(words.xmlRoot, text(request, "xml_root", { "data-plain": "" }), "xml_root"),
      labelled(words.xmlText, area(request, "text", { rows: 3 }), "text", words.xmlHint),
    );
  }
  parts.push(
    el(
      "div",
      { class: "tree-top" },
      el(
        "label",
        { class: "form-label" },
        words.top,
        select(request, "top", [["object", words.options.object], ["array", words.options.array]], redraw),
      ),
    ),
    tree(root, data.choices.type, redraw),
    request.format === "multipart" && sendsOwnFile(request.parameters) && ownFile(request, redraw),
  );
  return section(words.what, parts);
}

const sendsOwnFile = (nodes) => nodes.some((node) => node.type === "file" || sendsOwnFile(node.children ?? []));

// The file that is kept with the webhook and sent by its parameters of the type file.
function ownFile(request, redraw) {
  const choose = async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    request.file = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    request.file_name = file.name;
    touch();
    redraw();
  };
  return labelled(
    words.ownFile,
    el("input", { class: "form-control", type: "file", onchange: choose }),
    "file",
    request.file ? `${request.file_name || "file"}. ${words.ownFileHint}` : words.ownFileHint,
  );
}

export function auth(state, data, redraw) {
  const own = state.spec.request.auth;
  const secret = () =>
    labelled(
      own.kind === "basic" ? words.password : words.secret,
      el("input", {
        class: "form-control",
        type: "password",
        autocomplete: "new-password",
        value: state.secret ?? "",
        placeholder: data.hasSecret ? words.secretSet : "",
        oninput: (event) => {
          state.secret = event.target.value || null;
          touch();
        },
      }),
      "auth.secret",
      words.secretHint,
    );
  return section(
    words.auth,
    labelled(
      words.kind,
      select(
        own,
        "kind",
        ["none", "basic", "bearer", "header", "query", "connection"].map((kind) => [kind, words.authKinds[kind]]),
        () => {
          if (own.kind === "connection") own.name = data.connections[0] ?? "";
          redraw();
        },
      ),
      "auth.kind",
    ),
    own.kind === "basic" && labelled(words.user, text(own, "username", { "data-plain": "" }), "auth.username"),
    (own.kind === "header" || own.kind === "query") &&
      labelled(
        words.name,
        text(own, "name", { placeholder: own.kind === "header" ? "X-API-Key" : "api_key", "data-plain": "" }),
        "auth.name",
      ),
    own.kind === "connection" && connection(own, data),
    !["none", "connection"].includes(own.kind) && secret(),
    certificates(state, data, redraw),
  );
}

function connection(own, data) {
  const names = data.connections.includes(own.name) || !own.name ? data.connections : [own.name, ...data.connections];
  return labelled(
    words.connection,
    names.length
      ? select(own, "name", names.map((name) => [name, name]), touch)
      : el("a", { href: data.connectionsPage, class: "d-block" }, words.noConnections),
    "auth.name",
    words.connectionHint,
  );
}

// The key goes out when it is typed, and never comes back.
function certificates(state, data, redraw) {
  const { request } = state.spec;
  const key = el("textarea", {
    class: "form-control code-area secret-area",
    rows: 3,
    spellcheck: "false",
    autocomplete: "off",
    "data-plain": "",
    value: state.tls_key ?? "",
    placeholder: data.hasTlsKey ? words.secretSet : "-----BEGIN PRIVATE KEY-----",
    oninput: (event) => {
      state.tls_key = event.target.value || null;
      touch();
    },
  });
  const used = request.tls_ca || request.tls_certificate || state.tls_key;
  return el(
    "details",
    { class: "further", open: Boolean(used) },
    el("summary", {}, words.tlsTitle),
    labelled(
      words.tlsCertificate,
      area(request, "tls_certificate", { rows: 3, "data-plain": "", placeholder: "-----BEGIN CERTIFICATE-----" }),
      "tls_certificate",
      words.tlsCertificateHint,
    ),
    labelled(words.tlsKey, key, "tls_key", words.secretHint),
    (request.tls_certificate || state.tls_key) && button("trash", words.tlsRemove, () => {
      request.tls_certificate = "";
      state.tls_key = null;
      data.hasTlsKey = false;
      touch();
      redraw();
    }),
    labelled(words.tlsCa, area(request, "tls_ca", { rows: 3, "data-plain": "" }), "tls_ca", words.tlsCaHint),
  );
}

export function answer(state, data, redraw) {
  const { success, answer: own } = state.spec;
  const codes = (rule) => ({
    get text() {
      return (rule.statuses ?? []).join(", ");
    },
    set text(value) {
      rule.statuses = numbers(value);
    },
  });
  const kind = {
    get of() {
      return success.body?.kind ?? "";
    },
    set of(value) {
      success.body = value ? { kind: value, path: "", value: "" } : null;
    },
  };
  const body = success.body;
  return section(
    words.answer,
    el(
      "div",
      { class: "two" },
      labelled(
        words.statuses,
        text(codes(success), "text", { placeholder: words.any2xx, "data-plain": "" }),
        "success.statuses",
        words.statusesHint,
      ),
      labelled(
        words.bodyCheck,
        select(kind, "of", [["", "—"], ["json_equals", words.jsonEquals], ["json_exists", words.jsonExists], [
          "text_contains",
          words.textContains,
        ]], redraw),
        "success.body",
      ),
    ),
    body &&
      el(
        "div",
        { class: "two" },
        body.kind !== "text_contains" &&
          labelled(words.path, text(body, "path", { placeholder: "result.ok", "data-plain": "" }), "success.body.path"),
        body.kind !== "json_exists" &&
          labelled(words.value, text(body, "value", { "data-plain": "" }), "success.body.value"),
        labelled(
          words.bodyStatuses,
          text(codes(body), "text", { placeholder: words.everyStatus, "data-plain": "" }),
          "success.body.statuses",
          words.bodyStatusesHint,
        ),
      ),
    el("h3", { class: "part-title" }, words.save),
    own.save.length
      ? labelled(words.answerFormat, select(own, "format", ["json", "xml"]), "answer.format")
      : el("p", { class: "second" }, words.saveHint),
    own.save.map((item, index) =>
      el(
        "div",
        {},
        el(
          "div",
          { class: "line spot", "data-path": `answer.save[${index}]` },
          text(item, "path", { placeholder: "result.id", "aria-label": words.path, "data-plain": "" }),
          text(item, "name", { placeholder: words.saveAs, "aria-label": words.saveAs, "data-plain": "" }),
          must(item),
          remover(own.save, index, redraw),
        ),
        el("div", { class: "spot-errors" }),
      )
    ),
    button("plus", words.addSaved, () => {
      own.save.push({ name: "", path: "", mandatory: false });
      touch();
      redraw();
    }, { class: "btn btn-sm btn-ghost-secondary" }),
    data.chain.length || state.spec.on_success || state.spec.on_failure
      ? el(
        "div",
        { class: "two chain" },
        labelled(
          words.onSuccess,
          select(state.spec, "on_success", [["", "—"], ...data.chain.map((name) => [name, name])]),
          "on_success",
        ),
        labelled(
          words.onFailure,
          select(state.spec, "on_failure", [["", "—"], ...data.chain.map((name) => [name, name])]),
          "on_failure",
        ),
      )
      : null,
  );
}

export function retries(state, data, redraw) {
  const { retry, limits, request } = state.spec;
  const delays = {
    get text() {
      return retry.delays.join(", ");
    },
    set text(value) {
      retry.delays = numbers(value);
      draw();
    },
  };
  const line = el("div", { class: "retry-line", role: "img" });
  const draw = () => timeline(line, retry.profile === "own" ? retry.delays : data.retries[retry.profile] ?? []);
  draw();
  const number = (key, low, high) => wholeNumber(limits, key, low, high);
  return section(
    words.retries,
    labelled(
      words.profile,
      select(
        retry,
        "profile",
        [...Object.keys(data.retries), "own"].map((name) => [name, words.profiles[name] ?? name]),
        () => {
          if (retry.profile !== "own") retry.delays = [];
          redraw();
        },
      ),
      "retry.profile",
    ),
    retry.profile === "own" &&
      labelled(words.delays, text(delays, "text", { placeholder: "60, 300, 900", "data-plain": "" }), "retry.delays"),
    line,
    !state.spec.steering &&
      labelled(
        words.incomplete,
        select(state.spec, "incomplete", [["fail", words.incompleteFails], ["skip", words.incompleteSkips]]),
        "incomplete",
      ),
    el(
      "details",
      { class: "further", open: limits.per_minute > 0 },
      el("summary", {}, words.more),
      el(
        "div",
        { class: "two" },
        !state.spec.steering &&
          labelled(words.perMinute, number("per_minute", 0, 600), "limits.per_minute", words.perMinuteHint),
        labelled(words.deadline, number("deadline", 1, 60), "limits.deadline"),
        labelled(words.inFlight, number("in_flight", 1, 100), "limits.in_flight"),
      ),
      check(request, "follow_to_get", words.followToGet),
    ),
  );
}

function wholeNumber(object, key, low, high) {
  return el("input", {
    class: "form-control",
    type: "number",
    min: low,
    max: high,
    value: object[key],
    oninput: (event) => {
      object[key] = Number(event.target.value);
      touch();
    },
  });
}

// What is no number stays as it was typed: the server says at the field what is wrong with it.
function numbers(text) {
  const parts = text.split(/[,;\s]+/).filter(Boolean);
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

// The attempts as points on a line, one after another, with the wait between them.
function timeline(place, delays) {
  const span = (seconds) =>
    typeof seconds !== "number"
      ? "?"
      : seconds < 60
      ? `${seconds} ${words.s}`
      : seconds < 3600
      ? `${Math.round(seconds / 60)} ${words.min}`
      : `${Math.round(seconds / 360) / 10} ${words.h}`;
  place.setAttribute("aria-label", delays.length ? `1 + ${delays.length}: ${delays.map(span).join(", ")}` : words.once);
  place.replaceChildren(
    el("span", { class: "try" }, "1"),
    ...delays.flatMap((
      delay,
      index,
    ) => [el("span", { class: "wait" }, span(delay)), el("span", { class: "try" }, String(index + 2))]),
    delays.length ? "" : el("span", { class: "second" }, words.once),
  );
}

function must(item) {
  return el(
    "label",
    { class: "form-check must", title: words.mandatory },
    box(item, "mandatory", undefined, { "aria-label": words.mandatory }),
    "*",
  );
}
