//! From a place to the client library's store, with what the environment says: `AWS_*`, `GOOGLE_*`, `AZURE_*`.
//!
//! The library reads the environment itself, by the names that the services' own tools use.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key},
    azure::{AzureConfigKey as AzureKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as GcsKey},
};

use super::{
    StoreError,
    error::told,
    place::{Place, Service},
    wire::Wire,
};

/// Tries of a request after the first while somebody waits at the beginning: some two seconds.
const HASTY: usize = 3;
/// Tries of a request after the first once there is a dataset to send: about a minute.
const PATIENT: usize = 10;
/// No try begins after so long: credentials of a request do not last for ever.
const LONGEST: Duration = Duration::from_mins(3);
/// Between two tries at most.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A bucket, twice: for the check and for the upload.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) hasty: Arc<dyn ObjectStore>,
    pub(super) patient: Arc<dyn ObjectStore>,
    pub(super) secrets: Vec<String>,
}

/// Sets up a bucket's connections; sends nothing.
pub(super) fn connect(place: &Place) -> Result<Connected, StoreError> {
    let refused = |reason: String| StoreError::SetUp { place: place.clone(), reason };
    let wire = Wire::new().map_err(|error| refused(error.to_string()))?;
    let secrets = secrets(place.service());
    let build = |tries| build(place, &wire, tries).map_err(|error| refused(told(&error, &secrets).1));
    Ok(Connected { hasty: build(HASTY)?, patient: build(PATIENT)?, secrets: secrets.clone() })
}

fn build(place: &Place, wire: &Wire, tries: usize) -> object_store::Result<Arc<dyn ObjectStore>> {
    let backoff = BackoffConfig { max_backoff: LONGEST_WAIT, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: tries, retry_timeout: LONGEST };
    let (bucket, wire) = (place.bucket(), wire.clone());
    Ok(match place.service() {
        Service::S3 => Arc::new(
            AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_http_connector(wire)
                // Several at once is an extension that not every store has.
                .with_disable_bulk_delete(true)
                .build()?,
        ),
        Service::Gcs => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_http_connector(wire)
                .build()?,
        ),
        Service::Azure => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_container_name(bucket)
                .with_retry(retry)
                .with_http_connector(wire)
                .build()?,
        ),
    })
}

/// What of the environment must not be in any message.
fn secrets(service: Service) -> Vec<String> {
    let found: Vec<Option<String>> = match service {
        Service::S3 => {
            let builder = AmazonS3Builder::from_env();
            let keys = [S3Key::SecretAccessKey, S3Key::Token];
            keys.iter().map(|key| builder.get_config_value(key)).collect()
        }
        Service::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env();
            [GcsKey::ServiceAccountKey].iter().map(|key| builder.get_config_value(key)).collect()
        }
        Service::Azure => {
            let builder = MicrosoftAzureBuilder::from_env();
            let keys = [AzureKey::AccessKey, AzureKey::ClientSecret, AzureKey::SasKey, AzureKey::Token];
            keys.iter().map(|key| builder.get_config_value(key)).collect()
        }
    };
    found.into_iter().flatten().filter(|secret| !secret.is_empty()).collect()
}
