//! `--publish` to a store that refuses the dataset: the result is still printed.

use super::{
    hostile::server::{Act, Server},
    program::{Place, ended, instant, sandbox, stderr, summary},
};

/// An S3 server that is empty, accepts the probe, and refuses any other object.
fn refusing_store(request: &str) -> Act {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let (status, body) = match head.split(' ').next() {
        Some("GET") => ("200 OK", listing),
        Some("DELETE") => ("204 No Content", ""),
        Some("PUT") if head.contains("-probe") => ("200 OK", ""),
        _ => ("403 Forbidden", "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\netag: \"e\"\r\nconnection: close\r\n\r\n");
    Act::Raw((head + body).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_result_is_printed_even_if_the_upload_is_refused() {
    let (api, place) = (sandbox(instant()).await, Place::new(3));
    let store = Server::by_request(refusing_store).await;
    let run = |flags: &str| {
        let mut command = place.run(&api.url(), flags);
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", store.port())).env_remove("AWS_SESSION_TOKEN");
        command
    };
    // The second time nothing is fetched.
    for _ in 0..2 {
        let output = ended(run("--publish s3://bucket/audit"), 1).await;
        let (json, words) = (summary(&output), stderr(&output));
        assert_eq!((&json["ok"], &json["pending"], &json["published"]), (&3.into(), &0.into(), &true.into()), "{json}");
        assert_eq!(
            (&json["success"], &json["exit_code"], &json["published_to"]),
            (&false.into(), &1.into(), &None::<bool>.into())
        );
        let error = json["error"].as_str().expect("an error");
        assert!(error.contains("is complete in") && error.contains("but the upload failed"), "{error}");
        assert!(words.contains(error) && words.matches("error: ").count() == 1, "{words}");
        assert!(place.is_complete(), "the dataset in the directory is whole");
    }
    assert_eq!(api.bill().calls, 3);
    ended(run(""), 0).await;
}
