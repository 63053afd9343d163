//! A network's parameters by name, in groups, as flat tensors without a graph.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use vrt_model::{Named, Vrt};

use crate::recipe::Slow;

/// Which learning rate a parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The base rate.
    Normal,
    /// The rate of parameters that are named by keys; they are frozen at first.
    Slow,
}

/// What is known of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Published name.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its group.
    pub group: Group,
}

impl Parameter {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none, which no parameter of a network has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All parameters of a network, in order of construction.
#[derive(Clone, Debug)]
pub struct Parameters {
    list: Vec<Parameter>,
    places: HashMap<ParamId, usize>,
}

/// One flat tensor a parameter, in order; `None` where a parameter has none.
pub type Flat = Vec<Option<Tensor<1>>>;

impl Parameters {
    /// The parameters of a network, in the groups that `slow` makes.
    pub fn of(named: &Named, slow: &Slow) -> Self {
        let mut shapes = Shapes(HashMap::new());
        named.network.visit(&mut shapes);
        let parameter = |(id, name): &(ParamId, String)| Parameter {
            name: name.clone(),
            shape: shapes.0.remove(id).unwrap_or_default(),
            group: group(name, slow),
        };
        let list = named.names.iter().map(parameter).collect();
        let places = named.names.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
        Self { list, places }
    }

    /// The parameters in order.
    pub fn list(&self) -> &[Parameter] {
        &self.list
    }

    /// Groups that have parameters, the normal one first.
    pub fn groups(&self) -> Vec<Group> {
        let slow = self.list.iter().any(|parameter| parameter.group == Group::Slow);
        if slow { vec![Group::Normal, Group::Slow] } else { vec![Group::Normal] }
    }

    /// Numbers in the parameters of a group.
    pub fn numbers(&self, group: Group) -> usize {
        let members = self.list.iter().filter(|parameter| parameter.group == group);
        members.map(Parameter::len).sum()
    }

    /// The values of all parameters.
    pub fn values(&self, network: &Vrt) -> Vec<Tensor<1>> {
        let mut read = Read { places: &self.places, values: vec![None; self.list.len()] };
        network.visit(&mut read);
        read.values.into_iter().flatten().collect()
    }

    /// Takes the gradients of parameters that have one.
    pub fn gradients(&self, network: &Vrt, gradients: &mut Gradients) -> Flat {
        let values = vec![None; self.list.len()];
        let mut collect = Collect { places: &self.places, gradients, values };
        network.visit(&mut collect);
        collect.values
    }

    /// The network with every parameter replaced by what `change` makes of its place and value.
    pub fn map(&self, network: Vrt, change: &mut dyn FnMut(usize, Tensor<1>) -> Tensor<1>) -> Vrt {
        network.map(&mut Change { places: &self.places, change })
    }

    /// The network whose slow parameters have gradients or not; all others have.
    pub fn freeze(&self, network: Vrt, frozen: bool) -> Vrt {
        network.map(&mut Freeze { parameters: self, frozen })
    }
}

/// The group of a name: slow if a key is a part of it.
pub(crate) fn group(name: &str, slow: &Slow) -> Group {
    match slow.keys.iter().any(|key| name.contains(key.as_str())) {
        true => Group::Slow,
        false => Group::Normal,
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len = tensor.shape().num_elements();
    tensor.reshape([len])
}

struct Shapes(HashMap<ParamId, Vec<usize>>);

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.val().dims().to_vec());
    }
}

struct Read<'a> {
    places: &'a HashMap<ParamId, usize>,
    values: Flat,
}

impl ModuleVisitor for Read<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(place) = self.places.get(&param.id) {
            self.values[*place] = Some(flat(param.val().inner()));
        }
    }
}

struct Collect<'a> {
    places: &'a HashMap<ParamId, usize>,
    gradients: &'a mut Gradients,
    values: Flat,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(place) = self.places.get(&param.id) {
            self.values[*place] = param.val().grad_remove(self.gradients).map(flat);
        }
    }
}

struct Change<'a> {
    places: &'a HashMap<ParamId, usize>,
    change: &'a mut dyn FnMut(usize, Tensor<1>) -> Tensor<1>,
}

impl ModuleMapper for Change<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(place) = self.places.get(&param.id) else { return param };
        param.map(|value| {
            let (shape, learns) = (value.dims(), value.is_require_grad());
            let tracked = value.is_autodiff();
            let changed = (self.change)(*place, flat(value.inner())).reshape(shape);
            match tracked {
                true => changed.autodiff().set_require_grad(learns),
                false => changed,
            }
        })
    }
}

struct Freeze<'a> {
    parameters: &'a Parameters,
    frozen: bool,
}

impl ModuleMapper for Freeze<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = self.parameters.places.get(&param.id);
        let slow = place.is_some_and(|i| self.parameters.list[*i].group == Group::Slow);
        let learns = !(slow && self.frozen);
        // A new leaf: a tensor that is one keeps what it was asked for.
        param.map(|value| value.detach()).set_require_grad(learns)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::testing::small_network;

    fn named() -> Named {
        Vrt::with_seed(&small_network(), 1, &Device::flex().autodiff())
    }

    fn slow() -> Slow {
        let keys = vec!["spynet".to_owned(), "deform".to_owned()];
        Slow { keys, factor: 0.125, from_step: 4 }
    }

    #[test]
    fn groups_follow_names_and_all_parameters_are_in_one() {
        let parameters = Parameters::of(&named(), &slow());
        assert_eq!(parameters.groups(), [Group::Normal, Group::Slow]);
        for parameter in parameters.list() {
            let slow = parameter.name.contains("spynet") || parameter.name.contains("pa_deform");
            assert_eq!(parameter.group == Group::Slow, slow, "{}", parameter.name);
        }
        let all = small_network().tensors().iter().map(|spec| spec.len()).sum::<usize>();
        let sum = parameters.numbers(Group::Normal) + parameters.numbers(Group::Slow);
        assert_eq!(sum, all);
        assert_eq!(Parameters::of(&named(), &Slow::default()).groups(), [Group::Normal]);
    }

    #[test]
    fn values_come_in_order_and_are_replaced_in_order() {
        let named = named();
        let parameters = Parameters::of(&named, &slow());
        let before = parameters.values(&named.network);
        assert_eq!(before.len(), parameters.list().len());
        let network = parameters.map(named.network, &mut |place, value| value * 0.0 + place as f64);
        for (place, value) in parameters.values(&network).into_iter().enumerate() {
            let values: Vec<f32> = value.into_data().try_to_vec().expect("floats");
            assert_eq!(values.len(), parameters.list()[place].len());
            assert!(values.iter().all(|value| *value == place as f32));
        }
    }

    #[test]
    fn frozen_parameters_have_no_gradient_until_they_are_trained() {
        let named = named();
        let parameters = Parameters::of(&named, &slow());
        let values: Vec<f32> = (0..2 * 16 * 16 * 3).map(|i| (i * 7 % 97) as f32 / 97.0).collect();
        let data = TensorData::new(values, [1, 2, 16, 16, 3]);
        let x = Tensor::<5>::from_data(data, &Device::flex().autodiff());
        let mut network = named.network;
        let mut of_normal: Vec<Vec<Vec<f32>>> = Vec::new();
        for frozen in [true, false] {
            network = parameters.freeze(network, frozen);
            let y = network.forward(x.clone(), &mut vrt_model::Pass::Restore);
            let mut gradients = y.square().mean().backward();
            let found = parameters.gradients(&network, &mut gradients);
            for (parameter, gradient) in parameters.list().iter().zip(&found) {
                let expected = !(frozen && parameter.group == Group::Slow);
                assert_eq!(gradient.is_some(), expected, "{}, {frozen}", parameter.name);
            }
            let normal = parameters.list().iter().zip(found);
            let normal = normal.filter(|(parameter, _)| parameter.group == Group::Normal);
            let numbers = |(_, gradient): (_, Option<Tensor<1>>)| {
                gradient.expect("trained").into_data().try_to_vec().expect("floats")
            };
            of_normal.push(normal.map(numbers).collect());
            // What a step makes of them stays as it was asked for.
            network = parameters.map(network, &mut |_, value| value * 1.0);
        }
        assert!(of_normal[0] == of_normal[1], "what is left out of frozen layers changes nothing");
    }
}
