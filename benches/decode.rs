//! The cost of turning an answer into rows, compared with only tokenizing it.
//!
//! The answer is generated: 95 months with all keys and ten entries in most maps, as large as real ones.

use backlinks_export::decode::{Decoder, Envelope};
use divan::{Bencher, black_box, counter::BytesCount};

mod answers;

use self::answers::ROWS;

fn main() {
    divan::main();
}

/// How the answers of a benchmark differ from the usual one.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// As documented, oldest month first.
    Usual,
    /// Newest month first: the rows have to be reversed.
    NewestFirst,
    /// A new key in each item.
    UnknownKey,
    /// With blanks and line ends, twice as large.
    Pretty,
}

const SHAPES: [Shape; 4] = [Shape::Usual, Shape::NewestFirst, Shape::UnknownKey, Shape::Pretty];

fn answer(shape: Shape) -> Vec<u8> {
    let mut months: Vec<usize> = (0..ROWS).collect();
    if matches!(shape, Shape::NewestFirst) {
        months.reverse();
    }
    let text = answers::answer(months.into_iter(), matches!(shape, Shape::UnknownKey));
    if matches!(shape, Shape::Pretty) {
        let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        return serde_json::to_vec_pretty(&value).expect("JSON");
    }
    text
}

#[divan::bench(args = SHAPES)]
fn floor_tokens_alone(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| serde_json::from_slice::<serde::de::IgnoredAny>(black_box(&body)).expect("JSON"));
}

/// The envelope without the rows, for answers that are too large.
#[divan::bench(args = SHAPES)]
fn envelope(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| Envelope::read("example.com", black_box(&body)).expect("an object"));
}

/// The envelope and a record batch.
#[divan::bench(args = SHAPES)]
fn envelope_and_rows(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    let mut decoder = Decoder::new();
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| decoder.decode("example.com", black_box(&body)).rows.expect("an answer"));
}
