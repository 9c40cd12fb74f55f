//! Sets up the client library for a store. The library itself reads the `AWS_*`, `GOOGLE_*` and `AZURE_*` variables,
//! under the names that the services' own tools use. To add a service: its scheme in `url`, its builder and secrets
//! here, its hints in `error`.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key},
    azure::{AzureConfigKey as AzureKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as GcsKey},
    prefix::PrefixStore,
};

use super::{
    Destination, StoreError,
    error::describe,
    http_connector::Wire,
    url::{Service, StoreUrl},
};

/// Retries of a request during the check, while the user waits: about two seconds.
const CHECK_RETRIES: usize = 3;
/// Retries of a request during the upload: about a minute.
const UPLOAD_RETRIES: usize = 10;
/// No retry starts later than this: the signature of a request expires.
const MAX_RETRY_TIME: Duration = Duration::from_mins(3);
/// The longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_secs(15);

impl Destination {
    /// Sets up the connections, with credentials, region and endpoint from the environment; sends nothing.
    pub fn connect(url: &StoreUrl) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::SetUp { url: url.clone(), reason };
        let wire = Wire::new().map_err(|error| refused(error.to_string()))?;
        let secrets = secrets(url.service);
        let build = |tries| build(url, &wire, tries).map_err(|error| refused(describe(&error, &secrets).1));
        Ok(Self {
            url: url.clone(),
            store: build(UPLOAD_RETRIES)?,
            check_store: build(CHECK_RETRIES)?,
            secrets: secrets.clone(),
        })
    }
}

fn build(url: &StoreUrl, wire: &Wire, tries: usize) -> object_store::Result<Arc<dyn ObjectStore>> {
    let backoff = BackoffConfig { max_backoff: MAX_WAIT, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: tries, retry_timeout: MAX_RETRY_TIME };
    let (bucket, prefix, wire) = (url.bucket.as_str(), url.prefix.clone(), wire.clone());
    /// The builders have no trait in common.
    macro_rules! store {
        ($builder:expr) => {
            Arc::new(PrefixStore::new($builder.with_retry(retry).with_http_connector(wire).build()?, prefix))
        };
    }
    Ok(match url.service {
        // Not every compatible store can delete several objects in one request.
        Service::S3 => store!(AmazonS3Builder::from_env().with_bucket_name(bucket).with_disable_bulk_delete(true)),
        Service::Gcs => store!(GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket)),
        Service::Azure => store!(MicrosoftAzureBuilder::from_env().with_container_name(bucket)),
    })
}

/// Values from the environment that must not be in any message.
fn secrets(service: Service) -> Vec<String> {
    let found = match service {
        Service::S3 => {
            let environment = AmazonS3Builder::from_env();
            [S3Key::SecretAccessKey, S3Key::Token].map(|key| environment.get_config_value(&key)).to_vec()
        }
        Service::Gcs => vec![GoogleCloudStorageBuilder::from_env().get_config_value(&GcsKey::ServiceAccountKey)],
        Service::Azure => {
            let environment = MicrosoftAzureBuilder::from_env();
            let keys = [AzureKey::AccessKey, AzureKey::ClientSecret, AzureKey::SasKey, AzureKey::Token];
            keys.map(|key| environment.get_config_value(&key)).to_vec()
        }
    };
    found.into_iter().flatten().filter(|secret| !secret.is_empty()).collect()
}
