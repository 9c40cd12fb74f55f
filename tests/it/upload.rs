//! `--publish` to a store that refuses the dataset: the result is printed all the same.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::program::{Place, ended, instant, sandbox, summary, told};

/// An S3 server that is empty, accepts the probe, and refuses any other object.
async fn refusing_store() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    (port, serving)
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            break head;
        }
    };
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let (status, body) = match head.split(' ').next()? {
        "get" => ("200 OK", listing),
        "delete" => ("204 No Content", ""),
        "put" if head.contains("-probe") => ("200 OK", ""),
        _ => ("403 Forbidden", "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"e\"\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_refused_leaves_the_result_on_standard_output() {
    let (api, place) = (sandbox(instant()).await, Place::new(3));
    let (port, _serving) = refusing_store().await;
    let run = |flags: &str| {
        let mut command = place.run(&api.url(), flags);
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")).env_remove("AWS_SESSION_TOKEN");
        command
    };
    // The second time nothing is fetched.
    for _ in 0..2 {
        let output = ended(run("--publish s3://bucket/audit"), 1).await;
        let (json, words) = (summary(&output), told(&output));
        assert_eq!((&json["ok"], &json["pending"], &json["published"]), (&3.into(), &0.into(), &true.into()), "{json}");
        assert_eq!(
            (&json["success"], &json["exit_code"], &json["published_to"]),
            (&false.into(), &1.into(), &None::<bool>.into())
        );
        let error = json["error"].as_str().expect("an error");
        assert!(error.contains("is complete in") && error.contains("but the upload failed"), "{error}");
        assert!(words.contains(error) && words.matches("error: ").count() == 1, "{words}");
        assert!(place.out().join("_SUCCESS").exists(), "the dataset in the directory is whole");
    }
    assert_eq!(api.bill().calls, 3);
    ended(run(""), 0).await;
}
