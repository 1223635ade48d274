//! A request's JSON: within its length and its time, and calling itself what it is.

use super::gate;
use super::problem::Problem;
use super::routes::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use runtime::http::Request;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Most bytes of a request's JSON.
pub(super) const JSON_MAX: usize = 64 * 1024;
/// Of a message: the longest text, each byte of it escaped as six.
pub(super) const MESSAGE_MAX: usize = 6 * messaging::BODY_MAX + 1024;
/// For a body to come in. Tests wait less.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// The body of a route.
pub(super) async fn json<T: DeserializeOwned>(request: Request, body: Body) -> Result<T, Problem> {
    let optional = matches!(body, Body::Json(_, false));
    read(request, JSON_MAX, optional).await
}

/// A body of another length.
pub(super) async fn json_of<T: DeserializeOwned>(
    request: Request,
    max: usize,
) -> Result<T, Problem> {
    read(request, max, false).await
}

/// `optional`: no body at all is as good as `{}`.
async fn read<T: DeserializeOwned>(
    request: Request,
    max: usize,
    optional: bool,
) -> Result<T, Problem> {
    let announced = request.body().size_hint().lower();
    if announced > max as u64 {
        return Err(Problem::body_too_large(max));
    }
    let is_json = gate::is_type(request.headers(), "application/json");
    let collecting = Limited::new(request.into_body(), max).collect();
    let bytes = match tokio::time::timeout(TIMEOUT, collecting).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::body_too_large(max));
        }
        Ok(Err(_)) => return Err(Problem::new("bad_body", "the body cannot be read")),
        Err(_) => return Err(Problem::new("slow_body", "the body came too slowly")),
    };
    let bytes = match (bytes.is_empty(), optional) {
        (true, true) => Bytes::from_static(b"{}"),
        _ if !is_json => {
            let detail = "send JSON, and say so: Content-Type: application/json";
            return Err(Problem::new("not_json", detail));
        }
        _ => bytes,
    };
    let parsed = serde_json::from_slice::<Object<T>>(&bytes);
    parsed.map(|object| object.0).map_err(|error| {
        // serde's text can repeat what was sent; it goes back to the sender alone.
        let detail = format!("the body is not as documented: {error}");
        Problem::new("bad_json", detail)
    })
}

/// A JSON object. By itself serde also takes an array of a struct's fields in their order, which the
/// document of the API does not.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// For a field that is an object or nothing.
pub(super) fn object<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|object| object.0))
}
