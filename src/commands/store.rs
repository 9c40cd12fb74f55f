//! `--publish`: the dataset's copy in an object store, checked before anything is paid and put at the end.

use super::{Context, Failure, signals::Signals};
use crate::{
    ledger::Lock,
    outcome::{Outcome, UploadFailed},
    progress::Progress,
    stores::{Destination, StoreError, StoreUrl},
};

/// Makes sure that the dataset can be put there, where it is to be.
pub(super) async fn checked(url: Option<&StoreUrl>, simulated: bool) -> Result<Option<Destination>, Failure> {
    let Some(url) = url else { return Ok(None) };
    let checking = async {
        let destination = Destination::connect(url)?;
        destination.check(simulated).await.map(|()| destination)
    };
    checking.await.map(Some).map_err(|error: StoreError| {
        let hint = error.hint();
        let failure = Failure::usage(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Puts what was published where it is to be put as well. The directory stays as it is meanwhile: `lock` is held.
pub(super) async fn put(
    destination: Option<Destination>,
    outcome: Outcome,
    lock: Lock,
    progress: &Progress,
    (context, signals): (&Context, &Signals),
) -> Result<Outcome, Failure> {
    let Some(destination) = destination.filter(|_| outcome.published) else { return Ok(outcome) };
    let put = tokio::select! {
        put = destination.publish(&outcome.out, progress) => put,
        signal = signals.clone().first() => {
            let meanwhile = format!("during the upload to {}, which has no _SUCCESS yet", destination.url());
            return Err(Failure::interrupted(signal, &meanwhile));
        }
    };
    drop(lock);
    match put {
        Ok(there) => Ok(Outcome { published_to: Some(there), ..outcome }),
        Err(error) => {
            progress.finish();
            // What else is wrong: the result says what is wrong with the upload.
            if let Some((error, hint)) = outcome.error() {
                context.complain(&error, hint.as_deref());
            }
            Ok(Outcome { upload_failed: Some(failed(&error, &outcome)), ..outcome })
        }
    }
}

/// An upload that ended early, and how to go on with it.
fn failed(error: &StoreError, outcome: &Outcome) -> UploadFailed {
    const AGAIN: &str = "run the same command again to resume the upload";
    if error.is_local() {
        let hint = error.hint().unwrap_or_else(|| AGAIN.to_owned());
        return UploadFailed { error: format!("the dataset was not uploaded: {error}"), hint };
    }
    let hint = error.hint().map_or_else(|| AGAIN.to_owned(), |hint| format!("{hint}; then {AGAIN}"));
    let out = outcome.out.display();
    UploadFailed { error: format!("the dataset is complete in {out}, but the upload failed: {error}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Cause;

    #[test]
    fn an_upload_that_ends_early_says_where_the_dataset_is_and_how_to_go_on() {
        let outcome = Outcome { out: "out/audit".into(), ..Outcome::default() };
        let check = |error: StoreError, expected: &str, hint: &str| {
            let failure = failed(&error, &outcome);
            assert_eq!((failure.error.as_str(), failure.hint.as_str()), (expected, hint));
            let outcome = Outcome { published: true, upload_failed: Some(failure), ..outcome.clone() };
            let json = outcome.json();
            assert_eq!((&json["exit_code"], &json["success"]), (&1.into(), &false.into()));
            assert_eq!((&json["error"], &json["hint"]), (&expected.into(), &hint.into()));
        };
        let url: StoreUrl = "az://container/audit".parse().unwrap();
        let attempt = "upload targets/part-a.parquet".to_owned();
        check(
            StoreError::Refused { url, attempt, cause: Cause::Store, reason: "503 Server Busy".to_owned() },
            "the dataset is complete in out/audit, but the upload failed: cannot upload \
             targets/part-a.parquet in az://container/audit: 503 Server Busy",
            "check the network and AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT; then run the same command \
             again to resume the upload",
        );
        check(
            StoreError::Changed("out/audit/targets/part-a.parquet".into()),
            "the dataset was not uploaded: out/audit/targets/part-a.parquet was changed after \
             publishing: its digest differs from the one in _run.json",
            "move that file away and run the same command again to rebuild it from the ledger",
        );
    }
}
