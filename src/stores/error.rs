//! Why a dataset cannot be uploaded. The messages contain no request URL, no header and no secret.

use std::{error::Error, io, path::PathBuf};

use super::url::{Service, StoreUrl};
use crate::{export::ExportError, fs::io_hint, humanize, sanitize};

/// What to fix after a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Credentials are missing, wrong or lack a permission.
    Access,
    /// The bucket does not exist.
    Bucket,
    /// The store cannot be reached, or fails.
    Store,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot use {url}: {reason}")]
    SetUp { url: StoreUrl, reason: String },
    #[error("cannot {action} in {url}: {reason}")]
    RequestFailed { url: StoreUrl, action: String, cause: Cause, reason: String },
    /// An object that the upload would mix with its own, or delete.
    #[error("{url} contains {}, which is not part of an export", sanitize::plain(name))]
    Foreign { url: StoreUrl, name: String },
    #[error("{url} contains more than {} objects, more than any export", humanize::count(super::MAX_OBJECTS as u64))]
    TooMany { url: StoreUrl },
    /// Simulated rows would replace real ones.
    #[error("{url} contains real data, but this dataset is simulated")]
    Real { url: StoreUrl },
    #[error("{url} was modified during the upload: {name} differs from what was uploaded; _SUCCESS was not written")]
    Disturbed { url: StoreUrl, name: String },
    #[error("{} was changed after publishing: its digest differs from the one in _run.json", .0.display())]
    Changed(PathBuf),
    #[error("{} does not contain a published dataset", .0.display())]
    NoDataset(PathBuf),
    #[error(transparent)]
    Manifest(#[from] ExportError),
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl StoreError {
    /// Whether the directory is at fault, not the store.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Changed(_) | Self::NoDataset(_) | Self::Manifest(_) | Self::Io { .. })
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SetUp { url, .. } => Some(credentials(url.service)),
            Self::RequestFailed { url, cause, .. } => Some(match cause {
                Cause::Access => credentials(url.service),
                Cause::Bucket => format!("create the {} first, or check its name", url.service.bucket()),
                Cause::Store => format!("check the network and {}", endpoint(url.service)),
            }),
            Self::Foreign { .. } | Self::TooMany { .. } => {
                Some("use a --publish prefix that is empty or contains an export".to_owned())
            }
            Self::Real { .. } => Some("use another --publish prefix".to_owned()),
            Self::Disturbed { .. } => Some(
                "make sure that no other command publishes to this prefix, then run the same command again".to_owned(),
            ),
            Self::Changed(_) => {
                Some("move that file away and run the same command again to rebuild it from the ledger".to_owned())
            }
            Self::Manifest(error) => Some(error.hint()),
            Self::Io { source, .. } => io_hint(source).map(str::to_owned),
            Self::NoDataset(_) => None,
        }
    }
}

fn credentials(service: Service) -> String {
    match service {
        Service::S3 => {
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (and AWS_ENDPOINT_URL for other S3-compatible \
             stores), with permission to list, read, write and delete; profiles are not read: \
             `aws configure export-credentials --format env` prints them"
        }
        Service::Gcs => {
            "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run `gcloud auth application-default login`, with \
             permission to list, read, write and delete"
        }
        Service::Azure => {
            "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY or a service \
             principal, with permission to list, read, write and delete"
        }
    }
    .to_owned()
}

fn endpoint(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_ENDPOINT_URL and AWS_REGION",
        Service::Gcs => "the status of the service",
        Service::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
    }
}

/// Parts of the services' messages for a bucket that does not exist.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];
/// The same for credentials that are wrong or lack a permission.
const NO_ACCESS: [&str; 5] =
    ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401 Unauthorized", "403 Forbidden"];
/// Hosts of metadata services, from which credentials are requested if the environment has none.
const METADATA: [&str; 2] = ["169.254.", "metadata.google.internal"];

/// The cause of an error of the client library and its message, without the request and without secrets.
pub(super) fn describe(error: &object_store::Error, secrets: &[String]) -> (Cause, String) {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    // The outer messages repeat this one after the request's URL.
    let text = innermost.to_string();
    let code = between(&text, "<Code>", "</Code>").unwrap_or_default();
    let message = between(&text, "<Message>", "</Message>").unwrap_or_default();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let asks_metadata_service = has(&METADATA);
    let cause = match error {
        _ if has(&NO_BUCKET) => Cause::Bucket,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Cause::Access,
        _ if has(&NO_ACCESS) || asks_metadata_service => Cause::Access,
        object_store::Error::NotFound { .. } => Cause::Bucket,
        _ => Cause::Store,
    };
    let reason = match (code, message) {
        ("", "") => text.clone(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{} ({code})", message.trim().trim_end_matches('.')),
    };
    // Before anything is truncated: half a secret is still a secret.
    let reason = secrets.iter().fold(reason, |reason, secret| reason.replace(secret.as_str(), "…"));
    let mut reason = sanitize::plain(reason.trim()).into_owned();
    if asks_metadata_service {
        reason = format!("no credentials in the environment or from this machine's metadata service ({reason})");
    }
    (cause, reason)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_cause_and_the_message_of_the_store_without_secrets() {
        let check = |text: &str, expected: (Cause, &str)| {
            let error = object_store::Error::Generic { store: "S3", source: text.into() };
            let (cause, reason) = describe(&error, &["wJalr-secret".to_owned()]);
            assert_eq!((cause, reason.as_str()), expected);
        };
        let denied = "Server returned non-2xx status code: 403 Forbidden: <?xml?><Error><Code>AccessDenied</Code>\
                      <Message>Access Denied.</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        check(denied, (Cause::Access, "Access Denied (AccessDenied)"));
        let missing = "status code: 404: <Error><Code>NoSuchBucket</Code><Message>no such</Message></Error>";
        check(missing, (Cause::Bucket, "no such (NoSuchBucket)"));
        check("odd \u{1b}[31m wJalr-secret", (Cause::Store, "odd  …"));
        let unreachable = "cannot reach 169.254.169.254: timed out";
        let expected = "no credentials in the environment or from this machine's metadata service (cannot reach \
                        169.254.169.254: timed out)";
        check(unreachable, (Cause::Access, expected));
    }
}
