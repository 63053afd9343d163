//! Records an operation for automatic differentiation, where one of its inputs is tracked.

use std::fmt;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;

use super::values::{Operand, Tracked, Values, plain, tracked};
use crate::precision::Precision;
use crate::tensor::flex;

/// An operation on tensors: `K` is what the forward pass keeps for the backward pass beside the
/// inputs.
pub(super) struct Operation<F, B> {
    /// From the inputs, and whether a backward pass may follow, to the output and what is kept.
    pub(super) forward: F,
    /// From the inputs, what was kept, the gradient of the output, and which inputs want one, to
    /// the gradients of the inputs.
    pub(super) backward: B,
}

/// The gradients of the inputs, in their order; `None` where none is wanted.
pub(super) type Found = Vec<Option<Vec<f32>>>;

impl<F, B> Operation<F, B> {
    /// Runs the operation; its backward pass has the precision of now.
    pub(super) fn run<K, const D: usize>(self, inputs: Vec<Operand>) -> Tensor<D>
    where
        K: Send + Sync + 'static,
        F: FnOnce(&[Values], bool) -> (FlexTensor, K),
        B: Fn(&[Values], &K, &[f32], &[bool]) -> Found + Send + Sync + 'static,
    {
        let values: Vec<Values> = inputs.iter().map(Operand::values).collect();
        let context = inputs.iter().find_map(|input| match input {
            Operand::Plain(..) => None,
            Operand::Tracked(_, context) => Some(*context),
        });
        let (out, kept) = (self.forward)(&values, context.is_some());
        let Some(context) = context else { return plain(out) };
        let (precision, backward) = (Precision::current(), self.backward);
        let shapes = values.iter().map(|values| values.shape().clone()).collect();
        let gradients = move |grad: &[f32], wanted: &[bool]| {
            precision.scope(|| backward(&values, &kept, grad, wanted))
        };
        let state = State { shapes, gradients: Arc::new(gradients) };
        let inputs = inputs.into_iter().map(|input| match input {
            Operand::Plain(tensor, _) => Tracked::new(tensor),
            Operand::Tracked(tensor, _) => tensor,
        });
        tracked(record(inputs.collect(), out, state), context)
    }
}

/// From the gradient of the output, and which inputs want one, to the gradients of the inputs.
type GradientsOf = dyn Fn(&[f32], &[bool]) -> Found + Send + Sync;

/// What an operation needs for its backward pass.
#[derive(Clone)]
struct State {
    /// Of the inputs.
    shapes: Vec<Shape>,
    gradients: Arc<GradientsOf>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Node<const N: usize>;

impl<const N: usize> Backward<Flex, N> for Node<N> {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = Values::new(grads.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let State { shapes, gradients } = ops.state;
        let found = gradients(grad.get(), &wanted);
        for ((parent, found), shape) in ops.parents.into_iter().zip(found).zip(shapes) {
            if let (Some(parent), Some(found)) = (parent, found) {
                grads.register::<Flex>(parent.id, flex(found, shape));
            }
        }
    }
}

fn record_inputs<const N: usize>(inputs: &[Tracked], out: FlexTensor, state: State) -> Tracked {
    let nodes = std::array::from_fn(|i| inputs[i].node());
    match Node::<N>.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(state, out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}

/// Burn counts an operation's inputs in a type.
fn record(inputs: Vec<Tracked>, out: FlexTensor, state: State) -> Tracked {
    macro_rules! of_count {
        ($($n:literal)+) => {
            match inputs.len() {
                $($n => record_inputs::<$n>(&inputs, out, state),)+
                n => panic!("an operation of {n} inputs"),
            }
        };
    }
    of_count!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18)
}
