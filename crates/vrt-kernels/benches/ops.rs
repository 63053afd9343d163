//! Every fused operation beside its composed reference, in one process, at the sizes that the
//! published networks give it.
//!
//! `cargo bench -p vrt-kernels --bench ops` prints times and ratios; `-- --level avx2` takes smaller
//! vector instructions, `-- --only block` some of the operations. `cargo test` runs each once on
//! small sizes and compares.

use std::time::Instant;

use burn::tensor::activation::leaky_relu;
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::block::BlockGeometry;
use vrt_kernels::conv::Activation;
use vrt_kernels::{Level, Precision, WindowGeometry, composed, fused, ops};
use vrt_testing::Random;

/// Timed runs, of which the median counts.
const RUNS: usize = 5;
/// Largest difference to the reference, of the largest value, by precision.
const BOUNDS: [(Precision, f32); 2] = [(Precision::F32, 1e-4), (Precision::Bf16, 5e-2)];

/// An operation and its reference.
struct Case {
    name: String,
    /// Products, two operations each.
    flops: usize,
    fused: Box<dyn Fn() -> TensorData>,
    composed: Box<dyn Fn() -> TensorData>,
}

/// Sizes of the map: a tile of the benchmark, or something small.
#[derive(Clone, Copy)]
struct Scale {
    frames: usize,
    side: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let bench = arguments.iter().any(|argument| argument == "--bench");
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(name) = value("--level") {
        let level = Level::available().find(|level| level.to_string() == name);
        Level::force(level.expect("a level that this processor runs"));
    }
    let threads = vrt_kernels::parallel::configure(None).expect("threads");
    let scale = if bench { Scale { frames: 6, side: 64 } } else { Scale { frames: 4, side: 12 } };
    let mut cases = cases(scale);
    if let Some(part) = value("--only") {
        cases.retain(|case| case.name.contains(&part));
    }
    for case in &cases {
        check(case);
    }
    if bench {
        table(&cases, threads);
    }
}

/// Fails unless the operation makes what its reference does.
fn check(case: &Case) {
    let expected = floats((case.composed)());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (precision, bound) in BOUNDS {
        let actual = floats(precision.scope(|| (case.fused)()));
        assert_eq!(actual.len(), expected.len(), "{}", case.name);
        for (actual, expected) in actual.iter().zip(&expected) {
            let close = (actual - expected).abs() <= bound * largest;
            assert!(close, "{} in {precision}: {actual}, not {expected}", case.name);
        }
    }
}

fn floats(data: TensorData) -> Vec<f32> {
    data.try_to_vec().expect("floats")
}

fn table(cases: &[Case], threads: usize) {
    let level = Level::current();
    let mut lines = vec![
        format!("level {level}, {threads} threads, medians of {RUNS}"),
        "| operation | GFLOP | f32 ms | GFLOP/s | bf16 ms | GFLOP/s | composed ms | f32 is | \
         bf16 is |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for Case { name, flops, fused, composed } in cases {
        let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|p| median(|| p.scope(fused)));
        let composed = median(composed);
        let gigaflops = *flops as f64 / 1e9;
        lines.push(format!(
            "| {name} | {gigaflops:.2} | {:.2} | {:.0} | {:.2} | {:.0} | {:.1} | {:.1}× | {:.1}× |",
            1e3 * f32,
            gigaflops / f32,
            1e3 * bf16,
            gigaflops / bf16,
            1e3 * composed,
            composed / f32,
            composed / bf16,
        ));
    }
    let out = lines.join("\n");
    std::io::Write::write_all(&mut std::io::stdout(), format!("{out}\n").as_bytes()).expect("out");
}

/// Seconds of a run, the median of some.
fn median(run: impl Fn() -> TensorData) -> f64 {
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(run());
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[RUNS / 2]
}

fn cases(scale: Scale) -> Vec<Case> {
    let mut random = Random::new(1);
    let mut cases = vec![
        block(scale, false, &mut random),
        block(scale, true, &mut random),
        projection(scale, &mut random),
        gated_mlp(scale, &mut random),
    ];
    cases.push(conv(scale, "conv 3×3, 242 → 120", [242, 120, 3], &mut random));
    cases.push(conv(scale, "conv 7×7, 32 → 64", [32, 64, 7], &mut random));
    cases.push(deform_conv(scale, &mut random));
    cases
}

fn tensor<const D: usize>(shape: [usize; D], scale: f32, random: &mut Random) -> Tensor<D> {
    let values = random.values(shape.iter().product(), scale);
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// A layer whose outputs are about as large as its inputs.
fn layer(inputs: usize, outputs: usize, random: &mut Random) -> fused::Layer {
    let scale = (3.0 / inputs as f32).sqrt();
    fused::Layer {
        weight: tensor([outputs, inputs], scale, random),
        bias: tensor([outputs], 0.1, random),
        panels: fused::Panels::default(),
    }
}

fn norm(channels: usize, random: &mut Random) -> fused::Norm {
    let device = Device::flex();
    fused::Norm { weight: Tensor::ones([channels], &device), bias: tensor([channels], 0.1, random) }
}

fn mlp([inputs, hidden, outputs]: [usize; 3], random: &mut Random) -> fused::Mlp {
    fused::Mlp {
        fc11: layer(inputs, hidden, random),
        fc12: layer(inputs, hidden, random),
        fc2: layer(hidden, outputs, random),
    }
}

fn linear<const D: usize>(x: Tensor<D>, layer: &fused::Layer) -> Tensor<D> {
    let mut shape = x.dims();
    let rows = shape.iter().product::<usize>() / shape[D - 1];
    let x = x.reshape([rows, shape[D - 1]]);
    shape[D - 1] = layer.bias.dims()[0];
    composed::linear(x, layer.weight.clone(), layer.bias.clone()).reshape(shape)
}

fn normed<const D: usize>(x: Tensor<D>, norm: &fused::Norm) -> Tensor<D> {
    layer_norm(x, norm.weight.clone(), Some(norm.bias.clone()), 1e-5)
}

fn composed_mlp<const D: usize>(x: Tensor<D>, mlp: &fused::Mlp) -> Tensor<D> {
    let gate = linear(x.clone(), &mlp.fc11);
    let shape = gate.dims();
    let rows = [shape.iter().product::<usize>() / shape[D - 1], shape[D - 1]];
    let value = linear(x, &mlp.fc12).reshape(rows);
    linear(composed::gated(gate.reshape(rows), value).reshape(shape), &mlp.fc2)
}

/// A block of preset 006: 120 channels, 6 heads, shifted windows.
fn block(Scale { frames, side }: Scale, mutual: bool, random: &mut Random) -> Case {
    let (channels, heads, hidden) = (120, 6, 240);
    let full = if mutual { [2, 8, 8] } else { [6, 8, 8] };
    let size = [frames, side, side];
    let window: [usize; 3] = std::array::from_fn(|i| full[i].min(size[i]));
    let shift = std::array::from_fn(|i| if size[i] > full[i] { full[i] / 2 } else { 0 });
    let map = std::array::from_fn(|i| size[i].next_multiple_of(window[i]));
    let windows =
        WindowGeometry { batch: 1, map, window, full_window: full, shift, heads, channels };
    let geometry = BlockGeometry { windows, size, hidden };
    let attended = if mutual { 2 } else { 1 } * channels;
    let parameters = fused::Block {
        norm1: norm(channels, random),
        qkv_self: layer(channels, 3 * channels, random),
        table: tensor([windows.table_len() / heads, heads], 0.5, random),
        mutual: mutual.then(|| {
            let code = vec![0.0; window[1] * window[2] * channels];
            (layer(channels, 3 * channels, random), code.into())
        }),
        proj: layer(attended, channels, random),
        norm2: norm(channels, random),
        mlp: mlp([channels, hidden, channels], random),
        branches: Vec::new(),
        keeps_found: false,
    };
    let tokens = size.iter().product::<usize>();
    let linear_flops = 2 * channels * (3 * attended + attended + 3 * hidden);
    let asked = window.iter().product::<usize>() + if mutual { window[1] * window[2] } else { 0 };
    let x = tensor([1, frames, side, side, channels], 1.0, random);
    let (shared, again) = (parameters.clone(), x.clone());
    let kind = if mutual { "mutual and self" } else { "self" };
    Case {
        name: format!("block, {kind}, {}×8×8", full[0]),
        flops: tokens * (linear_flops + 4 * channels * asked),
        fused: Box::new(move || fused::block(x.clone(), parameters.clone(), &geometry).into_data()),
        composed: Box::new(move || composed_block(again.clone(), &shared, &geometry).into_data()),
    }
}

fn composed_block(x: Tensor<5>, p: &fused::Block, geometry: &BlockGeometry) -> Tensor<5> {
    let [d, h, w] = geometry.size;
    let [pd, ph, pw] = geometry.windows.map;
    let c = geometry.windows.channels;
    let zeros = Tensor::zeros([1, pd, ph, pw, c], &x.device());
    let inside = [0..1, 0..d, 0..h, 0..w, 0..c];
    let normal = zeros.slice_assign(inside.clone(), normed(x.clone(), &p.norm1));
    let qkv = linear(normal.clone(), &p.qkv_self);
    let own = composed::window_attention(qkv, p.table.clone(), &geometry.windows);
    let attended = match &p.mutual {
        None => own,
        Some((layer, _)) => {
            let found = composed::mutual_attention(linear(normal, layer), &geometry.windows);
            Tensor::cat(vec![found, own], 4)
        }
    };
    let x = x + linear(attended, &p.proj).slice(inside);
    x.clone() + composed_mlp(normed(x, &p.norm2), &p.mlp)
}

fn projection(Scale { frames, side }: Scale, random: &mut Random) -> Case {
    let [inputs, outputs] = [120, 180];
    let (layer, norm) = (layer(inputs, outputs, random), norm(inputs, random));
    let x = tensor([frames * side * side, inputs], 1.0, random);
    let (parameters, again) = ((layer.clone(), norm.clone()), x.clone());
    Case {
        name: format!("norm and linear, {inputs} → {outputs}"),
        flops: 2 * frames * side * side * inputs * outputs,
        fused: Box::new(move || {
            let around = fused::Around { norm: Some(norm.clone()), residual: None };
            fused::project(x.clone(), &layer, around).into_data()
        }),
        composed: Box::new(move || {
            linear(normed(again.clone(), &parameters.1), &parameters.0).into_data()
        }),
    }
}

fn gated_mlp(Scale { frames, side }: Scale, random: &mut Random) -> Case {
    let sizes = [360, 360, 120];
    let mlp = mlp(sizes, random);
    let parts: Vec<Tensor<2>> =
        (0..3).map(|_| tensor([frames * side * side, 120], 1.0, random)).collect();
    let (parameters, again) = (mlp.clone(), parts.clone());
    Case {
        name: "gated MLP of 3 inputs, 360 → 360 → 120".to_owned(),
        flops: 2 * frames * side * side * (2 * sizes[0] + sizes[2]) * sizes[1],
        fused: Box::new(move || fused::gated_mlp(parts.clone(), &mlp).into_data()),
        composed: Box::new(move || {
            composed_mlp(Tensor::cat(again.clone(), 1), &parameters).into_data()
        }),
    }
}

fn conv(scale: Scale, name: &str, sizes: [usize; 3], random: &mut Random) -> Case {
    let (Scale { frames, side }, [inputs, outputs, kernel]) = (scale, sizes);
    let bound = (3.0 / (inputs * kernel * kernel) as f32).sqrt();
    let weight = tensor([outputs, inputs, kernel, kernel], bound, random);
    let bias = tensor([outputs], 0.1, random);
    let x = tensor([frames, side, side, inputs], 1.0, random);
    let padding = [kernel / 2; 2];
    let conv = fused::Conv { weight: weight.clone(), bias: bias.clone(), padding };
    let again = x.clone();
    Case {
        name: name.to_owned(),
        flops: 2 * frames * side * side * inputs * outputs * kernel * kernel,
        fused: Box::new(move || {
            fused::conv2d(vec![x.clone()], &conv, Activation::LeakyRelu(0.1)).into_data()
        }),
        composed: Box::new(move || {
            let y = composed::conv2d(again.clone(), weight.clone(), bias.clone(), padding);
            leaky_relu(y, 0.1).into_data()
        }),
    }
}

fn deform_conv(Scale { frames, side }: Scale, random: &mut Random) -> Case {
    let (channels, groups, taps, max_offset) = (120, 12, 9, 4.0);
    let weight = tensor([channels, channels, 3, 3], 0.05, random);
    let bias = tensor([channels], 0.1, random);
    let x = tensor([frames, side, side, channels], 1.0, random);
    let flow = tensor([frames, side, side, 2], 3.0, random);
    let answers = tensor([frames, side, side, 3 * taps * groups], 1.0, random);
    let conv = fused::Conv { weight: weight.clone(), bias: bias.clone(), padding: [1, 1] };
    let (x2, flow2, answers2) = (x.clone(), flow.clone(), answers.clone());
    Case {
        name: "deformable conv 3×3 along a flow, 120 → 120".to_owned(),
        flops: 2 * frames * side * side * channels * channels * taps,
        fused: Box::new(move || {
            let answers = fused::Answers::Given(answers.clone());
            let flows = vec![flow.clone()];
            let guidance = fused::Guidance { answers, flows, max_offset, groups };
            fused::deform_conv(x.clone(), guidance, &conv, None::<fn(&[f32])>).into_data()
        }),
        composed: Box::new(move || {
            let offsets = 2 * taps * groups;
            let offset = answers2.clone().narrow(3, 0, offsets).tanh() * max_offset;
            let along = flow2.clone().flip([3]).repeat_dim(3, taps * groups);
            let mask = answers2.clone().narrow(3, offsets, taps * groups);
            let deformation = ops::Deformation {
                offset: offset + along,
                mask: burn::tensor::activation::sigmoid(mask),
                groups,
            };
            composed_deform(x2.clone(), deformation, weight.clone(), bias.clone()).into_data()
        }),
    }
}

fn composed_deform(
    x: Tensor<4>,
    deformation: ops::Deformation,
    weight: Tensor<4>,
    bias: Tensor<1>,
) -> Tensor<4> {
    let [batch, height, width, in_channels] = x.dims();
    let [out_channels, _, kh, kw] = weight.dims();
    let geometry = vrt_kernels::deform_conv::DeformGeometry {
        batch,
        height,
        width,
        in_channels,
        out_channels,
        weight_groups: 1,
        offset_groups: deformation.groups,
        kernel: [kh, kw],
        padding: [1, 1],
    };
    let ops::Deformation { offset, mask, .. } = deformation;
    composed::deform_conv(x, offset, mask, weight, bias, &geometry)
}
