//! `--publish`: the dataset's copy in an object store, checked before the first call and uploaded at the end.

use super::{Context, Failure, signals::Signals};
use crate::{
    ledger::Lock,
    progress::Progress,
    stores::{Destination, StoreError, StoreUrl},
    summary::RunSummary,
};

/// Connects to the store where the dataset is to be uploaded, and makes sure that it can be.
pub(super) async fn connect(url: Option<&StoreUrl>, simulated: bool) -> Result<Option<Destination>, Failure> {
    let Some(url) = url else { return Ok(None) };
    let destination = Destination::connect(url)?;
    destination.check(simulated).await?;
    Ok(Some(destination))
}

/// Uploads what was published. `lock` prevents changes to the directory during the upload.
pub(super) async fn upload(
    destination: Option<Destination>,
    summary: RunSummary,
    lock: Lock,
    progress: &Progress,
    context: &Context,
    signals: &Signals,
) -> Result<RunSummary, Failure> {
    let Some(destination) = destination.filter(|_| summary.published) else { return Ok(summary) };
    let moment = format!("during the upload to {}, which has no _SUCCESS yet", destination.url());
    let uploading = async { Ok(destination.upload(&summary.out, progress).await) };
    let uploaded = signals.interruptible(&moment, uploading).await?;
    drop(lock);
    match uploaded {
        Ok(uploaded) => Ok(RunSummary { published_to: Some(uploaded), ..summary }),
        Err(error) => {
            progress.finish();
            // The summary can show only one error: that of the upload.
            if let Some(error) = &summary.error {
                context.complain(error, summary.hint.as_deref());
            }
            Ok(with_failed_upload(summary, &error))
        }
    }
}

/// The summary of a run whose upload failed, and how to resume it.
fn with_failed_upload(summary: RunSummary, error: &StoreError) -> RunSummary {
    const AGAIN: &str = "run the same command again to resume the upload";
    let (error, hint) = if error.is_local() {
        (format!("the dataset was not uploaded: {error}"), error.hint().unwrap_or_else(|| AGAIN.to_owned()))
    } else {
        let out = summary.out.display();
        let hint = error.hint().map_or_else(|| AGAIN.to_owned(), |hint| format!("{hint}; then {AGAIN}"));
        (format!("the dataset is complete in {out}, but the upload failed: {error}"), hint)
    };
    summary.with_failed_upload(error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stores::Cause, summary::RunEnd};

    #[test]
    fn a_failed_upload_reports_where_the_dataset_is_and_how_to_resume() {
        let summary = RunSummary { out: "out/audit".into(), published: true, ..RunSummary::default() };
        let check = |error: StoreError, expected: &str, hint: &str| {
            let json = with_failed_upload(summary.clone().with_end(&RunEnd::Finished), &error).json();
            assert_eq!((&json["exit_code"], &json["success"]), (&1.into(), &false.into()));
            assert_eq!((&json["error"], &json["hint"]), (&expected.into(), &hint.into()));
        };
        let url: StoreUrl = "az://container/audit".parse().unwrap();
        let action = "upload targets/part-a.parquet".to_owned();
        check(
            StoreError::RequestFailed { url, action, cause: Cause::Store, reason: "503 Server Busy".to_owned() },
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
