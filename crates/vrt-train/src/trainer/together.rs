//! One run on several devices of this process.

use std::sync::Arc;

use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};
use vrt_kernels::are_linked;

use super::{Event, RunOptions, Summary, TrainError, train};
use crate::ranks::local::{LocalRank, group};
use crate::ranks::{Collective, CollectiveError};
use crate::recipe::Recipe;

/// Trains a recipe on several devices of this process, a rank on each, in a thread of its own; the
/// device and ranks of `options` are not asked for. `on_event` hears the first rank.
///
/// Devices that are [linked](are_linked) add up gradients between them. Where they are not, or do it
/// wrongly, gradients meet on the processor, as those of processes do.
///
/// # Errors
///
/// As [`train`]; of several ranks, the error that is not about another one.
///
/// # Panics
///
/// Panics if there is no device.
pub fn train_on_all(
    recipe: &Recipe,
    options: &RunOptions,
    devices: &[Device],
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Summary, TrainError> {
    let linked = if are_linked(devices) { devices } else { &[] };
    let run = |rank: LocalRank, on_event: &mut dyn FnMut(Event<'_>)| {
        let device = devices[rank.rank()].clone();
        let linked = linked_rightly(&rank, &device, linked)?;
        if linked.is_empty() && devices.len() > 1 {
            on_event(Event::Message("the processor adds up the gradients of the devices"));
        }
        let (folder, stop) = (options.folder.clone(), Arc::clone(&options.stop));
        let (resume, ranks) = (options.resume, Arc::new(rank));
        train(recipe, &RunOptions { folder, resume, device, stop, ranks, linked }, on_event)
    };
    let mut ranks = group(devices.len()).into_iter();
    let first = ranks.next().unwrap_or_else(|| unreachable!("a group has a first rank"));
    let found: Vec<_> = std::thread::scope(|scope| {
        let run = &run;
        let others: Vec<_> =
            ranks.map(|rank| scope.spawn(move || run(rank, &mut |_| {}))).collect();
        let first = run(first, on_event);
        let joined = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(joined).collect()
    });
    settled(found)
}

/// The linked devices, if they add up a tensor as they should; else none, on all ranks.
fn linked_rightly(
    rank: &LocalRank,
    device: &Device,
    linked: &[Device],
) -> Result<Vec<Device>, CollectiveError> {
    if linked.is_empty() {
        return Ok(Vec::new());
    }
    let size = rank.size();
    let own = Tensor::<1>::full([5], rank.rank() as f32 + 1.0, device);
    let sum = all_reduce(own, ReduceOperation::Sum, linked.to_vec()).resolve();
    let sum = sum.try_into_data().ok().and_then(|data| data.try_to_vec::<f32>().ok());
    let expected = (size * (size + 1) / 2) as f32;
    let right = sum.is_some_and(|sum| sum == [expected; 5]);
    let mut count = [f32::from(u8::from(right))];
    rank.sum(&mut count)?;
    Ok(if count == [size as f32] { linked.to_vec() } else { Vec::new() })
}

/// What the first rank did, or what went wrong on any: what says more than that another rank is gone
/// comes first.
fn settled(found: Vec<Result<Summary, TrainError>>) -> Result<Summary, TrainError> {
    let gone =
        |error: &TrainError| matches!(error, TrainError::Ranks(CollectiveError::Gone { .. }));
    let (mut summary, mut failed) = (None, None);
    for result in found {
        match result {
            Ok(done) => summary = summary.or(Some(done)),
            Err(error) if failed.as_ref().is_none_or(gone) => failed = Some(error),
            Err(_) => {}
        }
    }
    match (failed, summary) {
        (Some(error), _) => Err(error),
        (None, Some(summary)) => Ok(summary),
        (None, None) => unreachable!("there is at least one rank"),
    }
}
