//! The table of UDP sessions, held to the model that the table's own tests play seeds to.

use fairlead_l4::udp_flows::{ANSWERED, Flows, GRAIN, Id, Key, LOOKS, Limits, UNANSWERED, Verdict};

#[path = "../../../l4/src/udp/flows/tests/model.rs"]
mod model;

pub fn run(data: &[u8]) {
    model::run(data);
}
