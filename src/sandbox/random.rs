//! Pseudo-random numbers as a pure function of their purpose: the same target, attempt and seed give the same history,
//! latency and fault in any order of calls and on any machine.

/// A `SplitMix64` stream, seeded with a hash of its purpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(text: &str, numbers: &[u64]) -> Self {
        // FNV-1a
        let bytes = text.bytes().chain(numbers.iter().flat_map(|number| number.to_le_bytes()));
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// An independent stream for the n-th part of this one's purpose.
    pub(super) fn part(self, n: u64) -> Self {
        let mut part = Self(self.0 ^ n.wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93));
        part.next();
        part
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform between two numbers.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Log-uniform between two positive numbers.
    pub(super) fn magnitude(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// An index below `count`, which is above 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or(0)
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_only_on_its_purpose() {
        let first = |text: &str, numbers: &[u64]| Random::new(text, numbers).next();
        assert_eq!(first("a.com", &[1]), first("a.com", &[1]));
        assert_ne!(first("a.com", &[1]), first("a.com", &[2]));
        assert_ne!(first("a.com", &[1]), first("b.com", &[1]));
        assert_ne!(Random::new("a.com", &[]).part(0).next(), Random::new("a.com", &[]).part(1).next());
    }

    #[test]
    fn numbers_fill_their_range_evenly() {
        let mut random = Random::new("a.com", &[]);
        let draws: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
