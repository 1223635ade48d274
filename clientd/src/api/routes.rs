//! Every route of `/v1`, once: where it is, who may ask it, what goes in and what comes out. Requests
//! are dispatched by this table, and the OpenAPI document is made out of it. Not here: what a route
//! does (`crate::api`).

mod table;

use super::problem::Problem;
use super::types::Scope;
use runtime::http::Method;
use schemars::{Schema, SchemaGenerator};
pub(super) use table::ROUTES;

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Info,
    Health,
    Status,
    OpenApi,
    Events,
    Ack,
    Socket,
    Contacts,
    AddContact,
    Contact,
    ChangeContact,
    RemoveContact,
    NewCard,
    Send,
    Message,
    WipeConversation,
    Read,
    FileOfMessage,
    AcceptFile,
    CancelFile,
    Upload,
    Blobs,
    Download,
    BlobInfo,
    RemoveBlob,
    NewApp,
    Apps,
    SelfApp,
    App,
    RevokeApp,
    WipeEverything,
}

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Whoever has a token.
    Token,
    /// The owner, and applications with this scope.
    Scope(Scope),
}

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Nothing,
    /// A JSON object; `false`: none at all is as good as `{}`.
    Json(SchemaOf, bool),
    /// Bytes as they are.
    Raw,
}

/// A success.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) content: Content,
}

/// What a success carries.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Nothing,
    Json(SchemaOf),
    /// JSON, or a stream of server-sent events where the request asks for one.
    JsonOrStream(SchemaOf),
    /// Bytes as they are.
    Raw,
    /// The OpenAPI document.
    Document,
}

/// A parameter in the query.
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// What a parameter is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// From the first number to the second.
    Number(u64, u64),
    /// Of so many characters at most.
    Text(u32),
    /// As an answer gave it.
    Cursor,
}

/// One route.
pub(super) struct Route {
    pub(super) op: Op,
    pub(super) method: Method,
    /// Behind `/v1/`; a segment in braces is a parameter.
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) need: Need,
    pub(super) what: &'static str,
    pub(super) query: &'static [Query],
    pub(super) body: Body,
    pub(super) answers: &'static [Answer],
    /// Codes of its own; those of every route are in `problem::EVERYWHERE`.
    pub(super) problems: &'static [&'static str],
}

/// A route and the values of its parameters, in order.
pub(super) type Found<'a> = (&'static Route, Vec<&'a str>);

/// The route of a request.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Found<'a>, Problem> {
    let nowhere = || Problem::new("no_such_place", "there is nothing at this path");
    let rest = path.strip_prefix("/v1/").ok_or_else(nowhere)?;
    let segments: Vec<&str> = rest.split('/').collect();
    let mut allowed = Vec::new();
    let mut template = None;
    for route in ROUTES {
        // The first template that fits is the place; others may fit too.
        if template.is_some_and(|place| place != route.path) {
            continue;
        }
        let Some(values) = values(route.path, &segments) else {
            continue;
        };
        template = Some(route.path);
        let head = *method == Method::HEAD && route.method == Method::GET;
        if route.method == *method || head {
            return Ok((route, values));
        }
        allowed.push(route.method.as_str());
    }
    if allowed.is_empty() {
        return Err(nowhere());
    }
    let allowed = allowed.join(", ");
    Err(Problem::new("wrong_method", format!("use {allowed}")).allow(allowed))
}

/// The parameters' values, where the path fits. A fixed segment goes before a parameter by the
/// order of the table.
fn values<'a>(template: &str, segments: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut values = Vec::new();
    let mut given = segments.iter();
    for part in template.split('/') {
        let segment = given.next()?;
        if part.starts_with('{') {
            values.push(*segment);
        } else if part != *segment {
            return None;
        }
    }
    given.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(method: Method, path: &str) -> Option<Op> {
        find(&method, path).ok().map(|(route, _)| route.op)
    }

    #[test]
    fn paths_are_exact() {
        assert_eq!(op(Method::GET, "/v1/info"), Some(Op::Info));
        assert_eq!(op(Method::HEAD, "/v1/info"), Some(Op::Info));
        assert_eq!(op(Method::GET, "/v1/apps/self"), Some(Op::SelfApp));
        assert_eq!(op(Method::GET, "/v1/apps/7"), Some(Op::App));
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/info/",
            "/v1//info",
            "/v2/info",
            "/V1/info",
        ] {
            assert_eq!(op(Method::GET, path), None, "{path}");
        }
        assert_eq!(op(Method::DELETE, "/v1/apps/self"), None, "no number");
        let (_, values) = find(&Method::PUT, "/v1/contacts/a/messages/b")
            .ok()
            .unwrap();
        assert_eq!(values, ["a", "b"]);
    }

    #[test]
    fn every_operation_has_one_route_and_a_name() {
        let mut names: Vec<&str> = ROUTES.iter().map(|r| r.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROUTES.len());
        for (n, route) in ROUTES.iter().enumerate() {
            assert!(ROUTES[..n].iter().all(|r| r.op != route.op), "{}", route.id);
            for code in route.problems {
                assert!(super::super::problem::status_of(code).is_some(), "{code}");
            }
        }
    }
}
