// The webhook of the form: what the server leaves out because it is the default is filled in here.

export function complete(spec) {
  const request = spec.request ?? {};
  return {
    request: {
      method: "POST",
      url: "",
      format: "json",
      content_type: true,
      top: "object",
      text: "",
      file: "",
      file_name: "",
      xml_root: "request",
      rpc_method: "",
      date_format: "standard",
      date_pattern: "",
      follow_to_get: false,
      tls_ca: "",
      tls_certificate: "",
      ...request,
      auth: { kind: "none", username: "", name: "", ...request.auth },
      headers: (request.headers ?? []).map(field),
      query: (request.query ?? []).map(field),
      parameters: (request.parameters ?? []).map(node),
    },
    filters: (spec.filters ?? []).map(condition),
    retry: { profile: "none", delays: [], ...spec.retry },
    success: { statuses: [], body: null, ...spec.success },
    answer: {
      format: "json",
      ...spec.answer,
      save: (spec.answer?.save ?? []).map((item) => ({ mandatory: false, ...item })),
    },
    on_success: spec.on_success ?? "",
    on_failure: spec.on_failure ?? "",
    wait_for: spec.wait_for ?? "",
    unanswered: spec.unanswered ?? "send",
    incomplete: spec.incomplete ?? "fail",
    limits: { in_flight: 8, deadline: 10, per_minute: 0, delay: 0, ...spec.limits },
    ...(spec.steering ? { steering: spec.steering } : {}),
  };
}

const condition = (item) => ({
  parameter: "",
  value: "",
  values: [],
  ...item,
  filters: (item.filters ?? []).map(condition),
});
const field = (item) => ({ value: "", mandatory: false, empty: "", ...item });
const node = (item) => ({
  name: "",
  type: "text",
  value: "",
  empty: "",
  mandatory: false,
  attribute: false,
  ...item,
  children: (item.children ?? []).map(node),
});
