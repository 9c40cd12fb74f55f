//! The URL of a dataset in a store: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.

use std::{fmt, str::FromStr};

use object_store::path::Path as Name;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Amazon S3 and compatible stores.
    S3,
    Gcs,
    Azure,
}

impl Service {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// What the service calls a bucket.
    pub(super) fn bucket(self) -> &'static str {
        if self == Self::Azure { "container" } else { "bucket" }
    }
}

/// A prefix in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    pub(super) service: Service,
    pub(super) bucket: String,
    pub(super) prefix: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    #[error("expected s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")]
    Form,
    #[error("the bucket name may only contain letters, digits, `-`, `_` and `.`")]
    Bucket,
    #[error("the prefix has an empty, `.` or `..` segment, or characters that not all object stores accept")]
    Prefix,
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(StoreUrlError::Form)?;
        let service = Service::ALL.into_iter().find(|service| service.scheme() == scheme).ok_or(StoreUrlError::Form)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(StoreUrlError::Form);
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !bucket.bytes().all(fits) || bucket.starts_with('.') {
            return Err(StoreUrlError::Bucket);
        }
        // Tools disagree on characters with a meaning in URLs or globs.
        let strange = |character: char| character.is_control() || "?#%*[]{}\\\"'<>|^`".contains(character);
        let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
        if trimmed.contains(strange) || (!prefix.is_empty() && trimmed.is_empty()) {
            return Err(StoreUrlError::Prefix);
        }
        let prefix = Name::parse(trimmed).map_err(|_| StoreUrlError::Prefix)?;
        if prefix.as_ref() != trimmed {
            return Err(StoreUrlError::Prefix);
        }
        Ok(Self { service, bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.bucket)?;
        if self.prefix.as_ref().is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_shown() {
        let check = |text: &str, expected: Result<&str, StoreUrlError>| {
            let shown = text.parse().map(|url: StoreUrl| url.to_string());
            assert_eq!(shown, expected.map(str::to_owned), "{text}");
        };
        check("s3://bucket/audit/2026-11", Ok("s3://bucket/audit/2026-11"));
        check("s3://bucket/audit/", Ok("s3://bucket/audit"));
        check("gs://my.bucket_1/a=b/c d", Ok("gs://my.bucket_1/a=b/c d"));
        check("az://container", Ok("az://container"));
        check("s3://bucket/", Ok("s3://bucket"));
        check("bucket/prefix", Err(StoreUrlError::Form));
        check("http://bucket/prefix", Err(StoreUrlError::Form));
        check("S3://bucket/prefix", Err(StoreUrlError::Form));
        check("file:///tmp/out", Err(StoreUrlError::Form));
        check("s3:///prefix", Err(StoreUrlError::Form));
        check("s3://key:secret@bucket/prefix", Err(StoreUrlError::Bucket));
        check("s3://bucket:9000/prefix", Err(StoreUrlError::Bucket));
        check("s3://../prefix", Err(StoreUrlError::Bucket));
        check("s3://bucket/a//b", Err(StoreUrlError::Prefix));
        check("s3://bucket//", Err(StoreUrlError::Prefix));
        check("s3://bucket/../b", Err(StoreUrlError::Prefix));
        check("s3://bucket/a?versionId=1", Err(StoreUrlError::Prefix));
        check("s3://bucket/a%2Fb", Err(StoreUrlError::Prefix));
        check("s3://bucket/a\nb", Err(StoreUrlError::Prefix));
    }
}
