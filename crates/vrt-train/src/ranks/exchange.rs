//! Sums, broadcasts and barriers out of what moves data between ranks.

use super::{Call, CollectiveError, known};

/// Values that are on the way at once: 16 MiB.
///
/// Every chunk waits for all ranks twice, which costs more than the cache would save.
pub(super) const CHUNK: usize = 1 << 22;

/// What moves data between ranks, and computes nothing.
pub(super) trait Exchange {
    /// How many ranks there are.
    fn ranks(&self) -> usize;

    /// What every rank calls, in the order of the ranks.
    fn calls(&self, own: Call) -> Result<Vec<Call>, CollectiveError>;

    /// Sends part `i` of `sent` to rank `i`; part `i` of `received` is from rank `i`.
    ///
    /// Both hold [`Exchange::ranks`] parts of one length, the same on all ranks.
    fn all_to_all(&self, sent: &[f32], received: &mut [f32]) -> Result<(), CollectiveError>;

    /// Puts the parts of all ranks side by side, the same on all ranks.
    fn all_gather(&self, part: &[f32], whole: &mut [f32]) -> Result<(), CollectiveError>;

    /// Replaces `values` by those of rank `root`, which exists.
    fn spread(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError>;
}

/// Replaces `values` by their sum over all ranks, about `chunk` of them at a time.
///
/// Each rank adds up one part of a chunk, in the order of the ranks, and gives it to all: every
/// value crosses the network twice, however many ranks there are.
pub(super) fn sum(
    exchange: &impl Exchange,
    values: &mut [f32],
    chunk: usize,
) -> Result<(), CollectiveError> {
    agree(exchange, Call::Sum { values: values.len() })?;
    let ranks = exchange.ranks();
    let most = chunk.min(values.len()).div_ceil(ranks).max(1) * ranks;
    let mut others = vec![0.0; most];
    // Chunks have as many values for every rank; the few that are left are filled up with zeros.
    let (even, left) = values.split_at_mut(values.len() / ranks * ranks);
    for chunk in even.chunks_mut(most) {
        sum_chunk(exchange, chunk, &mut others[..chunk.len()])?;
    }
    if !left.is_empty() {
        let mut filled = vec![0.0; ranks];
        filled[..left.len()].copy_from_slice(left);
        sum_chunk(exchange, &mut filled, &mut others[..ranks])?;
        left.copy_from_slice(&filled[..left.len()]);
    }
    Ok(())
}

/// Sums one chunk, which has a part for every rank; `others` is for what they send.
fn sum_chunk(
    exchange: &impl Exchange,
    chunk: &mut [f32],
    others: &mut [f32],
) -> Result<(), CollectiveError> {
    exchange.all_to_all(chunk, others)?;
    exchange.all_gather(add_parts(others, chunk.len() / exchange.ranks()), chunk)
}

/// Adds the later parts to the first one, in their order, and returns it.
fn add_parts(parts: &mut [f32], part: usize) -> &[f32] {
    let (sum, later) = parts.split_at_mut(part);
    for other in later.chunks_exact(part) {
        for (sum, other) in sum.iter_mut().zip(other) {
            *sum += other;
        }
    }
    sum
}

/// Replaces `values` by those of rank `root`.
pub(super) fn broadcast(
    exchange: &impl Exchange,
    values: &mut [f32],
    root: usize,
) -> Result<(), CollectiveError> {
    agree(exchange, Call::Broadcast { values: values.len(), root })?;
    known(root, exchange.ranks())?;
    values.chunks_mut(CHUNK).try_for_each(|chunk| exchange.spread(chunk, root))
}

/// Waits for all ranks.
pub(super) fn barrier(exchange: &impl Exchange) -> Result<(), CollectiveError> {
    agree(exchange, Call::Barrier)
}

/// Holds the calls of all ranks to each other, so that all of them see the same error.
fn agree(exchange: &impl Exchange, own: Call) -> Result<(), CollectiveError> {
    let calls = exchange.calls(own)?;
    let firsts = calls[0];
    match calls.iter().position(|call| *call != firsts) {
        Some(rank) => Err(CollectiveError::Differs { rank, theirs: calls[rank], firsts }),
        None => Ok(()),
    }
}
