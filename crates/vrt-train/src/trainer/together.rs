//! One run on several devices of this process.

use std::sync::Arc;

use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};
use vrt_kernels::are_linked;

use super::{Event, RunOptions, Summary, TrainError, train};
use crate::ranks::local::{LocalRank, group};
use crate::ranks::{Collective, CollectiveError};
use crate::recipe::Recipe;
use crate::step::ExchangeError;

/// Trains a recipe on several devices of this process, a rank on each, in a thread of its own; the
/// device and ranks of `options` are not asked for. `on_event` hears the first rank.
///
/// Gradients meet on the processor, as those of processes do; where the recipe says `nccl`, devices
/// that are [linked](are_linked) add them up between them, if they all do it rightly. One that fails
/// in the middle of that leaves the others waiting: its driver cannot be asked to give up.
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
    let linked = if recipe.train.nccl && are_linked(devices) { devices } else { &[] };
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
    let holds = |tensor: &Tensor<1>, value: f32| {
        let data = tensor.clone().try_into_data().ok();
        data.and_then(|data| data.try_to_vec::<f32>().ok()).is_some_and(|all| all == [value; 5])
    };
    let own = rank.rank() as f32 + 1.0;
    let tensor = Tensor::<1>::full([5], own, device);
    // No rank asks the others before every device is known to work.
    if !on_all_ranks(rank, holds(&tensor, own))? {
        return Ok(Vec::new());
    }
    let sum = all_reduce(tensor, ReduceOperation::Sum, linked.to_vec()).resolve();
    let right = holds(&sum, (size * (size + 1) / 2) as f32);
    Ok(if on_all_ranks(rank, right)? { linked.to_vec() } else { Vec::new() })
}

fn on_all_ranks(rank: &LocalRank, is_so: bool) -> Result<bool, CollectiveError> {
    let mut count = [f32::from(u8::from(is_so))];
    rank.sum(&mut count)?;
    Ok(count == [rank.size() as f32])
}

/// What the first rank did, or what went wrong on any: what says more than that another rank is gone
/// comes first.
fn settled(found: Vec<Result<Summary, TrainError>>) -> Result<Summary, TrainError> {
    let gone = |error: &TrainError| match error.cause() {
        TrainError::Ranks(error) | TrainError::Exchange(ExchangeError::Sum(error)) => {
            matches!(error, CollectiveError::Gone { .. })
        }
        _ => false,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_first_is_told_whatever_the_others_saw_of_it() {
        let gone = || CollectiveError::Gone { rank: 1 };
        let others = [
            TrainError::Ranks(gone()),
            TrainError::Exchange(ExchangeError::Sum(gone())),
            TrainError::Saved { source: Box::new(TrainError::Ranks(gone())), step: 7 },
        ];
        for other in others {
            let error = settled(vec![Err(other), Err(TrainError::Empty)]).unwrap_err();
            assert!(matches!(error, TrainError::Empty), "{error}");
        }
    }
}
