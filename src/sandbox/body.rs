//! Sends a response's body whole, in two parts, in small pieces over some time, or cut off.
//!
//! The body owns the call's receipt: the call is in flight until the last piece is taken, and an answer that is dropped
//! before that was billed and lost.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::bill::Receipt;

/// Why a connection ends without a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Abort {
    #[error("reset before the answer")]
    Reset,
    #[error("cut off in the middle of the answer")]
    CutOff,
}

/// Pieces of a dripping body.
const DROPS: u32 = 20;
/// Bodies up to this size are sent in one piece.
const ONE_PIECE: usize = 16 * 1024;
/// Long enough for the first half to be sent before the connection is closed.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// A body in pieces with a pause between them.
#[derive(Debug)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    sleeping: Option<Pin<Box<Sleep>>>,
    /// The declared length; `None`: chunked.
    declared: Option<u64>,
    cut: bool,
    receipt: Option<Receipt>,
}

impl Outgoing {
    /// The whole body, in two parts with `pause` between them.
    pub(super) fn whole(body: &Bytes, pause: Duration, receipt: Option<Receipt>) -> Self {
        let parts = if pause.is_zero() || body.len() <= ONE_PIECE { 1 } else { 2 };
        Self { declared: Some(body.len() as u64), ..Self::new(body, parts, pause, receipt) }
    }

    /// The whole body in small pieces, without a declared length.
    pub(super) fn dripping(body: &Bytes, time: Duration, receipt: Receipt) -> Self {
        Self::new(body, DROPS, time / DROPS, Some(receipt))
    }

    /// The first half of a body whose full length is declared.
    pub(super) fn cut_off(body: &Bytes, receipt: Receipt) -> Self {
        let half = body.slice(..body.len() / 2);
        Self { declared: Some(body.len() as u64), cut: true, ..Self::new(&half, 1, BEFORE_CUT, Some(receipt)) }
    }

    fn new(body: &Bytes, parts: u32, pause: Duration, receipt: Option<Receipt>) -> Self {
        let size = body.len().div_ceil(parts as usize).max(1);
        let pieces: VecDeque<Bytes> = body.chunks(size).map(|piece| body.slice_ref(piece)).collect();
        let mut outgoing = Self { pieces, pause, sleeping: None, declared: None, cut: false, receipt };
        if outgoing.pieces.is_empty() {
            outgoing.finish();
        }
        outgoing
    }

    fn finish(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.deliver();
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = self.get_mut();
        if let Some(sleeping) = &mut this.sleeping {
            ready!(sleeping.as_mut().poll(context));
            this.sleeping = None;
        }
        let Some(piece) = this.pieces.pop_front() else {
            return Poll::Ready(this.cut.then_some(Err(Abort::CutOff)));
        };
        if !this.pieces.is_empty() || this.cut {
            this.sleeping = Some(Box::pin(sleep(this.pause)));
        } else {
            this.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
