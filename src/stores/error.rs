//! Why a dataset cannot be put into a store, in words that hold no URL of a request, no header and no secret.

use std::{error::Error, io, path::PathBuf};

use super::place::{Place, Service};
use crate::{export::ExportError, fs::access_hint, words};

/// Whose it is to mend what a store has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Credentials are missing or wrong, or do not allow it.
    Access,
    /// There is no such bucket.
    Bucket,
    /// The store cannot be reached, or fails.
    Store,
}

/// Why a dataset cannot be put into a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection cannot be set up.
    #[error("cannot use {place}: {reason}")]
    SetUp { place: Place, reason: String },
    /// The store does not do what it was asked for.
    #[error("cannot {attempt} in {place}: {reason}")]
    Refused {
        place: Place,
        attempt: String,
        /// Whose it is to mend.
        blame: Blame,
        /// What the store or the network said.
        reason: String,
    },
    /// There is something that publishing would mix with or delete.
    #[error("{place} contains {}, which is not part of an export", words::plain(name))]
    Foreign { place: Place, name: String },
    /// More objects than any dataset has.
    #[error("{place} contains more than {} objects, more than any export", words::count(super::MOST_OBJECTS as u64))]
    TooMany { place: Place },
    /// Invented rows would replace real ones.
    #[error("{place} contains a dataset of the real API, but this one is simulated")]
    Real { place: Place },
    /// Somebody else wrote there meanwhile.
    #[error("{place} was modified during the upload: {name} is not as uploaded; _SUCCESS was not written")]
    Disturbed {
        place: Place,
        /// What is not as it should be.
        name: String,
    },
    /// A file of the directory is not what was published.
    #[error("{} was changed after publishing: its digest differs from the one in _run.json", .0.display())]
    Changed(PathBuf),
    /// The directory holds no dataset.
    #[error("{} does not contain a published dataset", .0.display())]
    NoDataset(PathBuf),
    /// The directory's record cannot be read.
    #[error(transparent)]
    Record(#[from] ExportError),
    /// The file system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether it is about the directory, and not about the store.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Changed(_) | Self::NoDataset(_) | Self::Record(_) | Self::Io { .. })
    }

    /// What to do about it; `None`: going on is all there is to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SetUp { place, .. } => Some(credentials(place.service())),
            Self::Refused { place, blame, .. } => Some(match blame {
                Blame::Access => credentials(place.service()),
                Blame::Bucket => format!("create the {} first, or check its name", place.service().bucket()),
                Blame::Store => format!("check the network and {}", endpoint(place.service())),
            }),
            Self::Foreign { .. } | Self::TooMany { .. } => {
                Some("use a --publish prefix that is empty or contains an export".to_owned())
            }
            Self::Real { .. } => Some("use another --publish prefix".to_owned()),
            Self::Disturbed { .. } => Some("let only one command at a time publish to this prefix".to_owned()),
            Self::Changed(_) => {
                Some("move that file away and run the same command again to rebuild it from the ledger".to_owned())
            }
            Self::Record(error) => Some(error.hint()),
            Self::Io { source, .. } => access_hint(source).map(str::to_owned),
            Self::NoDataset(_) => None,
        }
    }
}

/// Where credentials come from, and what they have to allow.
fn credentials(service: Service) -> String {
    match service {
        Service::S3 => {
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (AWS_ENDPOINT_URL for other stores than \
             Amazon's), with permission to list, read, write and delete; profiles are not read: \
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

/// What services say where there is no such bucket.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];
/// What they say where credentials are wrong or do not allow it.
const NO_ACCESS: [&str; 5] =
    ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401 Unauthorized", "403 Forbidden"];
/// Where a machine in a cloud is asked for credentials, which is done where the environment has none.
const MACHINE: [&str; 2] = ["169.254.", "metadata.google.internal"];

/// What an error of the client library comes to: whose it is, and what was said, without what it says of requests.
pub(super) fn told(error: &object_store::Error, secrets: &[String]) -> (Blame, String) {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    // Texts further out repeat this one behind the request's URL.
    let text = innermost.to_string();
    let code = between(&text, "<Code>", "</Code>").unwrap_or_default();
    let said = between(&text, "<Message>", "</Message>").unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let asks_machine = has(&MACHINE);
    let blame = match error {
        _ if has(&NO_BUCKET) => Blame::Bucket,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Blame::Access,
        _ if has(&NO_ACCESS) || asks_machine => Blame::Access,
        object_store::Error::NotFound { .. } => Blame::Bucket,
        _ => Blame::Store,
    };
    let reason = match (code, said) {
        ("", "") => text.clone(),
        (code, "") => code.to_owned(),
        (code, said) => format!("{} ({code})", said.trim().trim_end_matches('.')),
    };
    // Before anything is cut off: half a secret is one, too.
    let reason = secrets.iter().fold(reason, |reason, secret| reason.replace(secret.as_str(), "…"));
    let mut reason = words::plain(reason.trim()).into_owned();
    if asks_machine {
        reason = format!("no credentials in the environment or from this machine's metadata service ({reason})");
    }
    (blame, reason)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(String);

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: Box::new(Said(text.to_owned())) }
    }

    #[test]
    fn errors_are_told_by_what_the_store_said_and_without_secrets() {
        let check = |error: object_store::Error, expected: (Blame, &str)| {
            let (blame, reason) = told(&error, &["wJalr-secret".to_owned()]);
            assert_eq!((blame, reason.as_str()), expected);
        };
        let denied = "Server returned non-2xx status code: 403 Forbidden: <?xml?><Error><Code>AccessDenied</Code>\
                      <Message>Access Denied.</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        check(generic(denied), (Blame::Access, "Access Denied (AccessDenied)"));
        let missing = "status code: 404: <Error><Code>NoSuchBucket</Code><Message>no such</Message></Error>";
        check(generic(missing), (Blame::Bucket, "no such (NoSuchBucket)"));
        check(generic("odd \u{1b}[31m wJalr-secret"), (Blame::Store, "odd  …"));
        let nobody = "cannot reach 169.254.169.254: timed out";
        let expected = "no credentials in the environment or from this machine's metadata service (cannot reach \
                        169.254.169.254: timed out)";
        check(generic(nobody), (Blame::Access, expected));
    }
}
