//! What tests of whole networks share.

use std::collections::BTreeMap;

use burn::tensor::Device;
use vrt_model::{Values, Vrt, option_file};
use vrt_testing::{Fixture, Golden};

/// Parameters of a fixture; the flow network's are in a file of their own.
struct FixtureValues<'a> {
    fixture: &'a Fixture,
    flow: BTreeMap<String, Golden>,
}

impl Values for FixtureValues<'_> {
    fn values(&mut self, name: &str, _: &[usize]) -> Option<Vec<f32>> {
        let own = self.fixture.find(&format!("param.{name}"));
        let tensor = own.or_else(|| self.flow.get(name.strip_prefix("spynet.")?))?;
        Some(tensor.values.clone())
    }
}

/// The network of a fixture, as restoring runs it.
pub(crate) fn network(fixture: &Fixture) -> Vrt {
    let config = fixture.metadata("config").to_string();
    let config = option_file::from_json(&config).expect("a configuration");
    let flow = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    let mut values = FixtureValues { fixture, flow: vrt_testing::read_tensors(&flow) };
    let named = Vrt::with_values(&config, &mut values, &Device::flex());
    assert!(named.missing.is_empty(), "parameters without a value: {:?}", named.missing);
    named.network
}
