//! A server that speaks HTTP as badly as its script demands: raw bytes for each request, and a record of all requests.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The response to a call, after which the connection is closed.
#[derive(Clone)]
pub(crate) enum Act {
    /// These bytes.
    Raw(Bytes),
    /// A head, followed by repetitions of one piece.
    Repeat(Bytes, Bytes, usize),
    /// A head and a beginning, followed by an occasional byte forever.
    Drip(Bytes),
}

/// Chooses a response by the text of the request.
type Script = dyn Fn(&str) -> Act + Send + Sync;

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Chooses responses by target.
    pub(super) async fn start(script: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        Self::by_request(move |request| {
            let target = request.split(r#""target":""#).nth(1).and_then(|rest| rest.split('"').next());
            script(target.unwrap_or_default())
        })
        .await
    }

    pub(crate) async fn by_request(script: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, seen): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&requests));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        Self { address, requests, accepting }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/apis/v1", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far, verbatim.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("sound").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Mutex<Vec<String>>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let act = script(&request);
    seen.lock().expect("sound").push(request);
    // The client may hang up first.
    let _ = answer(&mut stream, act).await;
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        // If it does not begin with a method, it is not HTTP, but for example TLS.
        if !bytes[0].is_ascii_uppercase() {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Some(text.into_owned());
        }
    }
}

async fn answer(stream: &mut TcpStream, act: Act) -> std::io::Result<()> {
    match act {
        Act::Raw(bytes) => stream.write_all(&bytes).await?,
        Act::Repeat(head, piece, times) => {
            stream.write_all(&head).await?;
            for _ in 0..times {
                stream.write_all(&piece).await?;
            }
        }
        Act::Drip(beginning) => {
            stream.write_all(&beginning).await?;
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.write_all(b" ").await?;
            }
        }
    }
    stream.shutdown().await
}
