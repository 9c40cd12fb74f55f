//! Connections and routes, with real sockets, waits and resets.

use std::{io, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use super::{
    answer,
    bill::Receipt,
    body::{Abort, Outgoing},
    decide::{CallReply, Delivery, ReceivedCall, SimulatedApi},
    faults::DRIP_TIME,
    gateway::MAX_PRICE,
    request::MAX_BODY_BYTES,
};
use crate::money::Usd;

const ENDPOINT: &str = "/apis/v1/dataforseo/backlinks/history/live";
const BALANCE: &str = "/apis/v1/credits/balance";
const BILL: &str = "/bill";
/// Open connections; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// Idle connections are closed after this time, as gateways do.
const IDLE: Duration = Duration::from_mins(1);
const MAX_STALL: Duration = Duration::from_mins(10);
/// The pause after a failure to accept, so that running out of files does not cause a busy loop.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Smaller bodies are not compressed.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// The part of a latency before the answer's first byte; the rest is before its last.
const FIRST_BYTE_PERCENT: u32 = 85;
/// The balance of an account with unlimited credit.
const UNLIMITED: Usd = Usd::from_micros(1_000_000_000);

/// Accepts connections until it is dropped, which closes them.
pub(super) async fn serve(listener: TcpListener, api: Arc<SimulatedApi>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&api)));
            }
            Err(_) => sleep(AFTER_FAILURE).await,
        }
    }
}

async fn connection(stream: TcpStream, api: Arc<SimulatedApi>) {
    // Otherwise small answers wait for the client to acknowledge the previous one.
    let _ = stream.set_nodelay(true);
    let handler = service_fn(move |request| route(Arc::clone(&api), request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), handler);
    let Err(error) = (&mut connection).await else { return };
    if std::error::Error::source(&error).and_then(|source| source.downcast_ref()) == Some(&Abort::Reset) {
        // With a linger of zero the socket closes with a reset.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn route(api: Arc<SimulatedApi>, request: Request<Incoming>) -> Result<Response<Outgoing>, Abort> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, ENDPOINT) => call(api, request).await,
        (&Method::GET, BILL) => {
            let bill = serde_json::to_vec_pretty(&api.bill.snapshot()).expect("numbers and strings always serialize");
            Ok(plain_response(StatusCode::OK, bill))
        }
        (&Method::GET, BALANCE) => Ok(balance(&api, request.headers())),
        (_, ENDPOINT | BILL | BALANCE) => {
            api.bill.lock().bill.strayed += 1;
            let allowed = if request.uri().path() == ENDPOINT { "POST" } else { "GET" };
            let mut response =
                plain_response(StatusCode::METHOD_NOT_ALLOWED, answer::plain_error("method not allowed"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            Ok(response)
        }
        _ => {
            api.bill.lock().bill.strayed += 1;
            Ok(plain_response(StatusCode::NOT_FOUND, answer::plain_error("not found")))
        }
    }
}

/// The account's balance. The shape of this answer is assumed; it is not documented.
fn balance(api: &SimulatedApi, headers: &HeaderMap) -> Response<Outgoing> {
    if !api.is_authorized(header_text(headers, header::AUTHORIZATION.as_str())) {
        return plain_response(StatusCode::UNAUTHORIZED, SimulatedApi::unauthorized(&api.request_id(0)).body);
    }
    let left = api.settings.credit.unwrap_or(UNLIMITED).minus(api.bill.snapshot().debited_micros);
    plain_response(StatusCode::OK, format!("{{\"balance_usd\":{}}}", answer::dollars(left.max(Usd::ZERO))).into_bytes())
}

async fn call(api: Arc<SimulatedApi>, request: Request<Incoming>) -> Result<Response<Outgoing>, Abort> {
    let mut receipt = api.bill.arrival(Instant::now());
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Some(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => None,
        // The client hung up in the middle of its request.
        Err(_) => return Err(Abort::CutOff),
    };
    let call = ReceivedCall {
        authorization: header_text(&head.headers, header::AUTHORIZATION.as_str()),
        max_price: header_text(&head.headers, MAX_PRICE),
        body: body.as_deref(),
    };
    let reply = api.decide(&call, &mut receipt);
    if reply.delivery == Delivery::Stall {
        // The connection's task, including this wait, ends as soon as the client hangs up.
        sleep(MAX_STALL).await;
        return Err(Abort::Reset);
    }
    let gzip = api.settings.gzip && accepts_gzip(&head.headers);
    let drip_time = api.settings.faults.drip_time.unwrap_or(DRIP_TIME);
    let first_byte = reply.delay * FIRST_BYTE_PERCENT / 100;
    if !first_byte.is_zero() {
        sleep(first_byte).await;
    }
    if reply.delivery == Delivery::Reset {
        return Err(Abort::Reset);
    }
    Ok(response(reply, gzip, drip_time, receipt))
}

fn response(reply: CallReply, gzip: bool, drip_time: Duration, receipt: Receipt) -> Response<Outgoing> {
    let compressed =
        (gzip && reply.body.len() >= MIN_COMPRESSED_BYTES).then(|| compressed(&reply.body)).and_then(Result::ok);
    let is_compressed = compressed.is_some();
    let body = Bytes::from(compressed.unwrap_or(reply.body));
    let pause = reply.delay * (100 - FIRST_BYTE_PERCENT) / 100;
    let outgoing = match reply.delivery {
        Delivery::Drip => Outgoing::dripping(&body, drip_time, receipt),
        Delivery::CutOff => Outgoing::cut_off(&body, receipt),
        Delivery::Unusable => {
            // Counts as lost.
            drop(receipt);
            Outgoing::whole(&body, pause, None)
        }
        Delivery::Whole | Delivery::Reset | Delivery::Stall => Outgoing::whole(&body, pause, Some(receipt)),
    };
    let mut response = Response::new(outgoing);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn plain_response(status: StatusCode, body: Vec<u8>) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(&body.into(), Duration::ZERO, None));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Compresses at the default level of servers.
fn compressed(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    io::Write::write_all(&mut encoder, body)?;
    encoder.finish()
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    header_text(headers, header::ACCEPT_ENCODING.as_str())
        .is_some_and(|accepted| accepted.split(',').any(|one| one.split(';').next().map(str::trim) == Some("gzip")))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
