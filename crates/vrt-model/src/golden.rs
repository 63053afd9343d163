//! Every module and whole networks against golden tensors, outputs and gradients.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::{Level, fused, gpus};
use vrt_testing::{Fixture, Golden, Tolerance, assert_close};

use crate::parameters::{Builder, Values};

mod modules;
mod networks;

/// Outputs of modules.
const MODULE: Tolerance = Tolerance::all(2e-5);
/// Gradients of modules.
const MODULE_GRADIENT: Tolerance = Tolerance::all(1e-4);
/// Gradients of SpyNet. Some pixels lie within rounding of a kink of the activation or the warp:
/// computed in f64 the gradients are up to 4.2e-4 from the golden f32 ones, and a change of the
/// last bit of a product moves the input's around one pixel by up to 5e-3. A bias has so few values
/// that one such pixel moves their mean.
const FLOW_GRADIENT: Tolerance = Tolerance::most(0.99, 1e-3).mean(4e-4);

thread_local! {
    static DEVICE: RefCell<Device> = RefCell::new(Device::flex());
}

/// Checks what the fused operations make at every level that this processor has, and what is
/// composed instead.
fn on_processors(check: impl Fn()) {
    for level in Level::available() {
        eprintln!("at level {level}");
        level.scope(&check);
    }
    eprintln!("composed");
    fused::without(check);
}

/// The same, and what every GPU makes that this build can use.
fn every_way(check: impl Fn()) {
    on_processors(&check);
    on_gpus(check);
}

/// Checks what every GPU makes that this build can use.
fn on_gpus(check: impl Fn()) {
    for gpu in gpus() {
        eprintln!("on {gpu:?}");
        let processor = DEVICE.replace(gpu);
        check();
        DEVICE.set(processor);
    }
}

/// A device that records what gradients need.
fn device() -> Device {
    DEVICE.with_borrow(|device| device.clone().autodiff())
}

/// Parameters of a fixture, the flow network's from its own file where the fixture has none.
struct FixtureValues<'a> {
    fixture: &'a Fixture,
    flow: BTreeMap<String, Golden>,
}

impl<'a> FixtureValues<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        let path = vrt_testing::workspace_root().join("weights/spynet.safetensors");
        Self { fixture, flow: vrt_testing::read_tensors(&path) }
    }
}

impl Values for FixtureValues<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let own = self.fixture.find(&format!("param.{name}"));
        let flow = || self.flow.get(name.strip_prefix("spynet.").unwrap_or(name));
        let tensor = own.or_else(flow)?;
        assert_eq!(tensor.shape, shape, "shape of {name}");
        Some(tensor.values.clone())
    }
}

/// A module made of a fixture's parameters, and their names.
fn built<M>(
    fixture: &Fixture,
    build: impl FnOnce(&mut Builder<'_>) -> M,
) -> (M, HashMap<ParamId, String>) {
    let mut values = FixtureValues::new(fixture);
    let device = device();
    let mut builder = Builder::given(&device, &mut values);
    let module = build(&mut builder);
    let built = builder.finish();
    assert!(built.missing.is_empty(), "parameters without a value: {:?}", built.missing);
    (module, built.names.into_iter().collect())
}

fn tensor<const D: usize>(golden: &Golden) -> Tensor<D> {
    let data = TensorData::new(golden.values.clone(), golden.shape.clone());
    Tensor::from_data(data, &device())
}

/// An input of a fixture that wants a gradient.
fn input<const D: usize>(fixture: &Fixture, name: &str) -> Tensor<D> {
    tensor::<D>(fixture.tensor(&format!("in.{name}"))).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 values")
}

/// `[b, c, d, h, w]` → `[b, d, h, w, c]`
fn channels_last(x: Tensor<5>) -> Tensor<5> {
    x.permute([0, 2, 3, 4, 1])
}

/// `[b, d, h, w, c]` → `[b, c, d, h, w]`
fn channels_first(x: Tensor<5>) -> Tensor<5> {
    x.permute([0, 4, 1, 2, 3])
}

/// `[n, c, h, w]` → `[n, h, w, c]`
fn frame_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}

/// `[n, h, w, c]` → `[n, c, h, w]`
fn frame_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

/// Collects the gradients of a module's parameters by name.
struct Collect<'a> {
    grads: &'a burn::tensor::Gradients,
    names: &'a HashMap<ParamId, String>,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = self.names.get(&param.id) else { return };
        if let Some(grad) = param.val().grad(self.grads) {
            self.found.insert(name.clone(), values(grad));
        }
    }
}

/// Holds the outputs to a fixture, then the gradients of Σ output·probe.
struct Check<'a> {
    fixture: &'a Fixture,
    loss: Option<Tensor<1>>,
    gradient: Tolerance,
}

impl<'a> Check<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, loss: None, gradient: MODULE_GRADIENT }
    }

    /// The same with another tolerance on gradients.
    fn within(self, gradient: Tolerance) -> Self {
        Self { gradient, ..self }
    }

    /// Compares one output, in the fixture's layout.
    fn output<const D: usize>(&mut self, name: &str, y: Tensor<D>) {
        let golden = self.fixture.tensor(&format!("out.{name}"));
        assert_eq!(y.dims().to_vec(), golden.shape, "shape of output {name}");
        assert_close(&format!("output {name}"), &values(y.clone()), &golden.values, MODULE);
        let probe = tensor::<D>(self.fixture.tensor(&format!("probe.{name}")));
        let loss = (y * probe).sum();
        self.loss = Some(match self.loss.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
    }

    /// Compares the gradients of the module's parameters and gives those of the inputs.
    fn gradients<M: Module>(
        self,
        module: &M,
        names: &HashMap<ParamId, String>,
    ) -> burn::tensor::Gradients {
        let grads = self.loss.expect("an output was compared").backward();
        let mut collect = Collect { grads: &grads, names, found: BTreeMap::new() };
        module.visit(&mut collect);
        let mut compared = 0;
        for (name, golden) in self.fixture.under("grad.param.") {
            let found = collect.found.get(name).unwrap_or_else(|| panic!("no gradient of {name}"));
            assert_close(&format!("gradient of {name}"), found, &golden.values, self.gradient);
            compared += 1;
        }
        assert!(compared > 0, "the fixture has gradients of parameters");
        grads
    }
}

/// Compares the gradient of an input, which is in the fixture's layout.
fn check_input<const D: usize>(
    fixture: &Fixture,
    grads: &burn::tensor::Gradients,
    name: &str,
    x: &Tensor<D>,
) {
    check_input_within(fixture, grads, (name, x), MODULE_GRADIENT);
}

/// The same with another tolerance.
fn check_input_within<const D: usize>(
    fixture: &Fixture,
    grads: &burn::tensor::Gradients,
    (name, x): (&str, &Tensor<D>),
    tolerance: Tolerance,
) {
    let golden = fixture.tensor(&format!("grad.in.{name}"));
    let found = values(x.grad(grads).unwrap_or_else(|| panic!("no gradient of input {name}")));
    assert_close(&format!("gradient of input {name}"), &found, &golden.values, tolerance);
}
