//! Where a dataset is put: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.

use std::{fmt, str::FromStr};

use object_store::path::Path as Name;

/// The kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Amazon S3, and what speaks like it.
    S3,
    Gcs,
    Azure,
}

impl Service {
    const ALL: [(&'static str, Self); 3] = [("s3", Self::S3), ("gs", Self::Gcs), ("az", Self::Azure)];

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
pub struct Place {
    service: Service,
    bucket: String,
    prefix: Name,
}

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Another scheme, or none.
    #[error("expected s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")]
    Form,
    /// The name of the bucket cannot be one.
    #[error("the bucket name may only contain letters, digits, `-`, `_` and `.`")]
    Bucket,
    /// The prefix cannot be one.
    #[error("the prefix has an empty, `.` or `..` segment, or characters that not all object stores accept")]
    Prefix,
}

impl Place {
    pub(super) fn service(&self) -> Service {
        self.service
    }

    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    pub(super) fn prefix(&self) -> &Name {
        &self.prefix
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (scheme, rest) = text.split_once("://").ok_or(PlaceError::Form)?;
        let service = Service::ALL.into_iter().find(|(known, _)| *known == scheme).ok_or(PlaceError::Form)?.1;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(PlaceError::Form);
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !bucket.bytes().all(fits) || bucket.starts_with('.') {
            return Err(PlaceError::Bucket);
        }
        // What means something in a URL or to a glob would be read differently by different tools.
        let strange = |character: char| character.is_control() || "?#%*[]{}\\\"'<>|^`".contains(character);
        let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
        if trimmed.contains(strange) || (!prefix.is_empty() && trimmed.is_empty()) {
            return Err(PlaceError::Prefix);
        }
        let prefix = Name::parse(trimmed).map_err(|_| PlaceError::Prefix)?;
        if prefix.as_ref() != trimmed {
            return Err(PlaceError::Prefix);
        }
        Ok(Self { service, bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.bucket)?;
        if self.prefix.as_ref().is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_told_alike() {
        let check = |text: &str, expected: Result<&str, PlaceError>| {
            let told = text.parse().map(|place: Place| place.to_string());
            assert_eq!(told, expected.map(str::to_owned), "{text}");
        };
        check("s3://bucket/audit/2026-11", Ok("s3://bucket/audit/2026-11"));
        check("s3://bucket/audit/", Ok("s3://bucket/audit"));
        check("gs://my.bucket_1/a=b/c d", Ok("gs://my.bucket_1/a=b/c d"));
        check("az://container", Ok("az://container"));
        check("s3://bucket/", Ok("s3://bucket"));
        check("bucket/prefix", Err(PlaceError::Form));
        check("http://bucket/prefix", Err(PlaceError::Form));
        check("S3://bucket/prefix", Err(PlaceError::Form));
        check("file:///tmp/out", Err(PlaceError::Form));
        check("s3:///prefix", Err(PlaceError::Form));
        check("s3://key:secret@bucket/prefix", Err(PlaceError::Bucket));
        check("s3://bucket:9000/prefix", Err(PlaceError::Bucket));
        check("s3://../prefix", Err(PlaceError::Bucket));
        check("s3://bucket/a//b", Err(PlaceError::Prefix));
        check("s3://bucket//", Err(PlaceError::Prefix));
        check("s3://bucket/../b", Err(PlaceError::Prefix));
        check("s3://bucket/a?versionId=1", Err(PlaceError::Prefix));
        check("s3://bucket/a%2Fb", Err(PlaceError::Prefix));
        check("s3://bucket/a\nb", Err(PlaceError::Prefix));
    }
}
