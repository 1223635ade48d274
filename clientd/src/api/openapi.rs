//! The OpenAPI 3.1 document, made out of the table of routes and the types themselves. The committed
//! copy is `docs/spec/openapi.json`; a test fails when they differ.

use super::problem::{CODES, EVERYWHERE, WITH_BYTES, WITH_JSON, status_of};
use super::routes::{Answer, Body, Content, Kind, Need, Query, ROUTES, Route};
use super::types::{ProblemBody, Scope};
use runtime::http::{Response, StatusCode, respond};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static TEXT: LazyLock<String> = LazyLock::new(document);

/// The document as the daemon serves it.
pub(super) fn response() -> Response {
    respond(StatusCode::OK, "application/json", TEXT.as_str())
}

/// The document: two spaces of indent, a line break at the end.
pub fn document() -> String {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        let path = paths.entry(format!("/v1/{}", route.path)).or_default();
        path.insert(route.method.as_str().to_lowercase(), operation);
    }
    let problem = generator.subschema_for::<ProblemBody>();
    debug_assert!(problem.as_object().is_some());
    let schemas = generator.take_definitions(true);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mizzle client",
            "version": "v1",
            "summary": "Private messages for applications on this machine.",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:7654", "description": "By default; see api.addr." }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The owner's, from the file api.token, or an application's.",
            }},
            "schemas": schemas,
        },
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

const ABOUT: &str = "Within /v1 nothing is taken away or changes its meaning. Fields, types of \
    events, states and codes may be added: pass over those that you do not know. \
    The page docs/spec/client-api.md says more.";

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(path_parameter)
        .collect();
    parameters.extend(route.query.iter().map(query_parameter));
    if route.query.iter().any(|q| q.name == "after") {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "Goes before `after`.",
            "schema": { "type": "string", "pattern": "^[0-9]{0,19}$" },
        }));
    }
    let mut responses = Map::new();
    for answer in route.answers {
        responses.insert(answer.status.to_string(), success(answer, generator));
    }
    for (status, codes) in problems(route) {
        let said = codes.iter().map(|code| {
            let when = CODES.iter().find(|c| c.0 == *code).map_or("", |c| c.2);
            format!("`{code}`: {when}")
        });
        let mut text: Vec<String> = said.collect();
        text.sort();
        let content = json!({ "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/ProblemBody" },
        }});
        match responses.get_mut(&status.to_string()) {
            // 503 of /v1/health is an answer too.
            Some(known) => {
                let both = known["content"].as_object_mut();
                if let (Some(both), Some(more)) = (both, content.as_object()) {
                    both.extend(more.clone());
                }
            }
            None => {
                let description = text.join("; ");
                let answer = json!({ "description": description, "content": content });
                responses.insert(status.to_string(), answer);
            }
        }
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.what,
        "tags": [route.path.split('/').next().unwrap_or_default()],
        "responses": responses,
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = request_body(route.body, generator) {
        operation["requestBody"] = body;
    }
    if let Need::Scope(scope) = route.need {
        operation["x-scope"] = Scope::name(scope).into();
    }
    operation
}

/// By status, the codes that a route can answer with.
fn problems(route: &Route) -> BTreeMap<u16, Vec<&'static str>> {
    let with_body: &[&str] = match route.body {
        Body::Nothing => &[],
        Body::Json(..) => &WITH_JSON,
        Body::Raw => &WITH_BYTES,
    };
    let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    let shared = EVERYWHERE.iter().chain(with_body);
    for code in shared.chain(route.problems) {
        let Some(status) = status_of(code) else {
            continue;
        };
        let codes = by_status.entry(status).or_default();
        if !codes.contains(code) {
            codes.push(code);
        }
    }
    by_status
}

fn path_parameter(name: &str) -> Value {
    let (what, schema) = match name {
        "contact" => (
            "A contact's id.",
            json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        ),
        "message_id" => (
            "A contact's message, as its event names it.",
            json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        ),
        "blob" => (
            "A file.",
            json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        ),
        "app" => (
            "An application's number.",
            json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        ),
        _ => (
            "Your own name for the message.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._~-]{1,64}$" }),
        ),
    };
    json!({ "name": name, "in": "path", "required": true, "description": what, "schema": schema })
}

fn query_parameter(query: &Query) -> Value {
    let schema = match query.kind {
        Kind::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Text(most) => json!({ "type": "string", "maxLength": most }),
        Kind::Cursor => json!({ "type": "string", "pattern": "^[0-9a-f]{1,32}$" }),
    };
    json!({
        "name": query.name, "in": "query", "required": query.required,
        "description": query.what, "schema": schema,
    })
}

fn octets() -> Value {
    json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } })
}

fn success(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut value = json!({ "description": answer.what });
    let content = match answer.content {
        Content::Nothing => return value,
        Content::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Content::JsonOrStream(schema) => json!({
            "application/json": { "schema": schema(generator) },
            "text/event-stream": { "schema": { "type": "string" } },
        }),
        Content::Raw => octets(),
        Content::Document => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    value["content"] = content;
    value
}

fn request_body(body: Body, generator: &mut SchemaGenerator) -> Option<Value> {
    match body {
        Body::Nothing => None,
        Body::Json(schema, required) => Some(json!({
            "required": required,
            "content": { "application/json": { "schema": schema(generator) } },
        })),
        Body::Raw => Some(json!({ "required": true, "content": octets() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_OPENAPI=1 cargo test -p clientd openapi` writes it anew.
    #[test]
    fn the_committed_openapi_document_is_this_programs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == document(),
            "docs/spec/openapi.json differs: UPDATE_OPENAPI=1 cargo test -p clientd openapi"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document();
        let document: Value = serde_json::from_str(&text).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(schemas.len() > 20);
        for part in text.split("\"$ref\": \"").skip(1) {
            let name = part.split('"').next().unwrap();
            let name = name.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}
