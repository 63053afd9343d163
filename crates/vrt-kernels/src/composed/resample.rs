//! Changes of size, composed.

use burn::tensor::{Int, Tensor, TensorData};

use crate::resample::{Axis, Change};

/// As [`fused::resample`](crate::fused::resample).
pub fn resample(x: Tensor<4>, [rows, columns]: [Axis; 2], change: Change) -> Tensor<4> {
    let x = along(along(x, 1, rows), 2, columns);
    let Some(parts) = change.parts() else { return x };
    let channels = x.dims()[3];
    let [minus, times] = parts.map(|part| {
        let data = TensorData::new(part.to_vec(), [1, 1, 1, channels]);
        Tensor::<4>::from_data(data, &x.device())
    });
    let nothing = parts[0].iter().all(|minus| *minus == 0.0);
    if nothing { x * times } else { (x - minus) * times }
}

fn along(x: Tensor<4>, at: usize, axis: Axis) -> Tensor<4> {
    if axis.stays() {
        return x;
    }
    if let Some(pairs) = axis.pairs() {
        return halved(x, at, pairs);
    }
    let (device, size) = (x.device(), axis.size());
    let (mut low, mut high, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (below, above, share) in (0..size).map(|index| axis.taps(index)) {
        low.push(below as i64);
        high.push(above as i64);
        shares.push(share);
    }
    let index = |v: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(v, [size]), &device);
    let mut shape = [1; 4];
    shape[at] = size;
    let share = Tensor::<1>::from_data(TensorData::new(shares, [size]), &device).reshape(shape);
    let (low, high) = (x.clone().select(at, index(low)), x.select(at, index(high)));
    low * (-share.clone() + 1.0) + high * share
}

/// Means of so many pairs.
fn halved(x: Tensor<4>, at: usize, pairs: usize) -> Tensor<4> {
    let mut shape = x.dims();
    shape[at] = pairs;
    let (outer, inner) = (shape[..at].iter().product(), shape[at + 1..].iter().product());
    let both: Tensor<4> = x.narrow(at, 0, 2 * pairs).reshape([outer, pairs, 2, inner]);
    both.mean_dim(2).reshape(shape)
}
