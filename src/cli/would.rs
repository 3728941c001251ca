//! `run --observe`: tells the log what would be done, once per plan.

use tracing::info;

use crate::model::plan::{Plan, Step};

/// The plan that was told last.
#[derive(Default)]
pub struct Would {
    told: Option<Vec<String>>,
}

impl Would {
    pub fn tell(&mut self, plan: &Plan) {
        let steps: Vec<String> = plan.steps.iter().map(line).collect();
        if self.told.as_ref() == Some(&steps) {
            return;
        }
        let count = steps.len();
        match count {
            0 => info!("observes: nothing to do"),
            _ => info!(
                disruption = plan.disruption().as_str(),
                "observes: {} would be taken now",
                super::text::count(count, "step")
            ),
        }
        for (number, step) in steps.iter().enumerate() {
            info!("would {}/{count}: {step}", number + 1);
        }
        self.told = Some(steps);
    }
}

/// How many sessions it would end is left out: that changes all the time.
fn line(step: &Step) -> String {
    let slot = step.act.slot().map(|s| format!(" slot {s}")).unwrap_or_default();
    let member = step.member.as_ref().map(|m| format!(" {m}")).unwrap_or_default();
    let ends = step.disruption.as_str();
    format!("{}{slot}{member}, ends {ends}: {}", step.act.op(), step.reason)
}
