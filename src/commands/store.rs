//! `--publish`: the dataset's copy in an object store, checked before anything is paid and put at the end.

use super::{Context, Failure, signals::Signals};
use crate::{
    ledger::Lock,
    outcome::Outcome,
    progress::Progress,
    stores::{Destination, Place, StoreError},
};

/// Makes sure that the dataset can be put there, where it is to be.
pub(super) async fn checked(place: Option<&Place>, simulated: bool) -> Result<Option<Destination>, Failure> {
    let Some(place) = place else { return Ok(None) };
    let checking = async {
        let destination = Destination::connect(place)?;
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
            let meanwhile = format!("while the dataset was put to {}, which has no _SUCCESS yet", destination.place());
            return Err(Failure::interrupted(signal, &meanwhile));
        }
    };
    drop(lock);
    match put {
        Ok(there) => Ok(Outcome { published_to: Some(there), ..outcome }),
        Err(error) => {
            progress.finish();
            // What else is wrong would not be told, since there is no result.
            if let Some((error, hint)) = outcome.error() {
                context.complain(&error, hint.as_deref());
            }
            let again = "run the same command again: it goes on without a paid call where none is left to make";
            let hint = error.hint().map_or_else(|| again.to_owned(), |hint| format!("{hint}; then {again}"));
            let whole = format!("the dataset is whole in {}, but not in its store: {error}", outcome.out.display());
            Err(Failure::unexpected(whole).hint(hint))
        }
    }
}
