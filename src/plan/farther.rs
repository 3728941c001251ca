//! Farther tiers (`locations`): whose replicas serve while nobody local does. The nearest tier that
//! can serve is attached, and of its locations the one with the shortest round trip. It stays until
//! somebody nearer *is* attached, so there is no moment without readers; and another location of
//! the same tier never takes its place because numbers moved.
//!
//! A leader that may be read from serves for its tier: it is attached anyway, while each replica
//! farther away costs every session a far connection more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::cluster::Member;
use crate::model::ids::SlotIndex;
use crate::model::policy::Tier;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::ground::Ground;
use super::reader;
use super::why::{Located, Why};
use super::wish::{Want, Wish, Wishes};

/// How much somebody can do for the reads, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Absent,
    /// It may serve again in a moment: a farther one is not attached for a blip.
    Awaited,
    /// It is to be attached, as far as anybody knows.
    Comes,
    Serves,
}

/// The members of one location, or one that does not say where it is: they come and go together.
struct Site<'a> {
    place: &'a str,
    slots: Vec<SlotIndex>,
}

type BySlot<'a> = BTreeMap<SlotIndex, Wish<'a>>;

/// Gives the replicas of farther tiers their wishes. Says which slots were compared by distance and
/// are not attached yet: each of them has to be asked.
pub fn choose<'a>(
    ground: &Ground<'a>,
    assignment: &Assignment<'a>,
    by_slot: &mut BySlot<'a>,
) -> BTreeSet<SlotIndex> {
    let mut compared = BTreeSet::new();
    if ground.policy.farther.is_empty() {
        return compared;
    }
    let eyes = Eyes { ground, assignment, promotes: promotes(ground, assignment) };
    let tiers = eyes.tiers(by_slot);
    for slot in tiers.iter().skip(1).flatten().flat_map(|site| &site.slots) {
        eyes.wish_as_a_reader(*slot, by_slot);
    }
    let mut nearer = eyes.of_the_unknown(by_slot);
    for (distance, mut sites) in tiers.into_iter().enumerate() {
        let standing = |site: &Site| eyes.of_site(site, by_slot);
        if sites.iter().any(|site| standing(site) == Standing::Awaited) && distance > 0 {
            nearer = nearer.max(Standing::Awaited);
        }
        sites.sort_by_cached_key(|site| eyes.rank(site, distance, by_slot));
        let in_use = |site| standing(site) == Standing::Serves || eyes.has_the_leader(site);
        let in_use = sites.iter().any(in_use);
        if distance > 0 && sites.len() > 1 && !in_use && nearer < Standing::Comes {
            let candidates = sites.iter().flat_map(|site| &site.slots);
            compared.extend(candidates.filter(|s| is_candidate(by_slot, **s)));
        }
        for site in sites {
            let its_own = eyes.of_site(&site, by_slot);
            if distance > 0 {
                site.slots.iter().for_each(|s| eyes.give_way(*s, nearer, by_slot));
            }
            nearer = nearer.max(its_own);
        }
    }
    compared
}

/// Of these slots, about to be attached together, the ones that are needed: a stand-in may have
/// taken farther ones down that shall not come back beside a nearer one.
pub fn without_those_behind(
    ground: &Ground,
    assignment: &Assignment,
    wishes: &Wishes,
    mut slots: Vec<SlotIndex>,
) -> Vec<SlotIndex> {
    let tier = |s: &SlotIndex| ground.policy.tier(assignment.member(*s)?);
    let reads = |s: &&SlotIndex| match wishes.want(**s) {
        Want::Reader(weight) | Want::Leader(Some(weight)) => weight > 0.0,
        Want::Leader(None) => assignment.member(**s).is_some_and(|m| may_read(ground, m)),
        want => matches!(want, Want::Farther(_)),
    };
    let nearest = slots.iter().filter(reads).filter_map(tier).min();
    slots.retain(|s| !matches!(wishes.want(*s), Want::Farther(_)) || tier(s) <= nearest);
    slots
}

fn may_read(ground: &Ground, member: &Member) -> bool {
    let own = ground.policy.local_weight(member);
    !member.noloadbalance && member.orders.held.is_none() && own.is_none_or(|w| w > 0.0)
}

/// A promote is due, which takes every slot down but the leader's.
fn promotes(ground: &Ground, assignment: &Assignment) -> bool {
    let other = |l: SlotIndex| ground.pool.is_attached(l) && ground.pool.primary() != Some(l);
    !ground.cluster.standby_cluster && assignment.leader.is_some_and(other)
}

fn is_candidate(by_slot: &BySlot, slot: SlotIndex) -> bool {
    matches!(by_slot.get(&slot), Some(Wish { want: Want::Farther(_), .. }))
}

struct Eyes<'g, 'a> {
    ground: &'g Ground<'a>,
    assignment: &'g Assignment<'a>,
    promotes: bool,
}

impl<'a> Eyes<'_, 'a> {
    /// The sites of each tier, the local one first.
    fn tiers(&self, by_slot: &BySlot) -> Vec<Vec<Site<'a>>> {
        let mut tiers: Vec<BTreeMap<&str, Vec<SlotIndex>>> = Vec::new();
        tiers.resize_with(self.ground.policy.farther.len() + 1, BTreeMap::new);
        for slot in by_slot.keys() {
            let Some(member) = self.assignment.member(*slot) else { continue };
            let Some(tier) = self.ground.policy.tier(member) else { continue };
            let place = match tier {
                0 => "",
                _ => self.ground.policy.place(member).unwrap_or(member.name.as_raw()),
            };
            tiers[tier].entry(place).or_default().push(*slot);
        }
        let sites = |places: BTreeMap<&'a str, _>| {
            places.into_iter().map(|(place, slots)| Site { place, slots }).collect()
        };
        tiers.into_iter().map(sites).collect()
    }

    /// What a remote replica would be if it were wanted. Nobody is attached in order to be far
    /// behind.
    fn wish_as_a_reader(&self, slot: SlotIndex, by_slot: &mut BySlot<'a>) {
        let Some(member) = self.assignment.member(slot) else { return };
        let Some(wish) = by_slot.get_mut(&slot).filter(|w| matches!(w.why, Why::Remote(..))) else {
            return;
        };
        if member.noloadbalance {
            wish.why = Why::NoLoadBalance(&member.name);
            return;
        }
        let near = reader::wish(self.ground, slot, member, 1.0);
        let located = Located::of(self.ground.policy, member);
        *wish = match near {
            Wish { want: Want::Reader(weight), .. } if weight > 0.0 => {
                Wish { want: Want::Farther(weight), why: Why::Farther(&member.name, located) }
            }
            Wish { why, .. } => Wish { want: Want::Detached(0.0), why },
        };
    }

    /// Whoever is attached stays until somebody nearer serves; nobody is attached while somebody
    /// nearer comes.
    fn give_way(&self, slot: SlotIndex, nearer: Standing, by_slot: &mut BySlot<'a>) {
        let Some(member) = self.assignment.member(slot) else { return };
        let Some(wish) = by_slot.get_mut(&slot) else { return };
        let chosen = matches!(wish.why, Why::Farther(..));
        let waits = matches!(wish.why, Why::Unproven(..) | Why::ByHand(..) | Why::FarBehind(..));
        let why = match nearer {
            Standing::Absent => return,
            _ if chosen && nearer < Standing::Serves && self.is_attached(slot) => return,
            Standing::Awaited if chosen => {
                Why::Awaiting(&member.name, self.ground.policy.patience.attach_after)
            }
            Standing::Awaited => return,
            _ if !chosen && !waits => return,
            _ => Why::NotNeeded(&member.name, Located::of(self.ground.policy, member)),
        };
        *wish = Wish { want: Want::Detached(0.0), why };
    }

    /// Who may have the reads without being known well enough for a tier; and with a file that
    /// cannot be written nobody new gets any.
    fn of_the_unknown(&self, by_slot: &BySlot) -> Standing {
        let weight = |s: &SlotIndex| self.assignment.table.entries.get(s).map_or(0.0, |e| e.weight);
        let kept = |(slot, wish): (&SlotIndex, &Wish)| {
            let unknown = matches!(wish.want, Want::AsIs | Want::WhileAttached);
            unknown && self.is_attached(*slot) && weight(slot) > 0.0 && !self.freezes(*slot)
        };
        match self.ground.file.is_err() || by_slot.iter().any(kept) {
            true => Standing::Comes,
            false => Standing::Absent,
        }
    }

    /// A leader that may be read from is attached anyway, or will be.
    fn has_the_leader(&self, site: &Site) -> bool {
        let slot = self.assignment.leader.filter(|l| site.slots.contains(l));
        slot.and_then(|l| self.assignment.member(l)).is_some_and(|m| may_read(self.ground, m))
    }

    fn of_site(&self, site: &Site, by_slot: &BySlot) -> Standing {
        let standings = site.slots.iter().map(|s| self.of_slot(*s, by_slot));
        standings.max().unwrap_or(Standing::Absent)
    }

    fn of_slot(&self, slot: SlotIndex, by_slot: &BySlot) -> Standing {
        let (Some(member), Some(wish)) = (self.assignment.member(slot), by_slot.get(&slot)) else {
            return Standing::Absent;
        };
        let reads = match wish.want {
            Want::Farther(_) => true,
            Want::Reader(weight) | Want::Leader(Some(weight)) => weight > 0.0,
            Want::Leader(None) => may_read(self.ground, member),
            _ => false,
        };
        match reads {
            true if self.is_attached(slot) && !self.freezes(slot) => Standing::Serves,
            true if !self.is_attached(slot) && self.may_come(slot) => Standing::Comes,
            false if self.may_be_back(member, wish) => Standing::Awaited,
            _ => Standing::Absent,
        }
    }

    fn is_attached(&self, slot: SlotIndex) -> bool {
        match self.promotes {
            true => self.assignment.leader == Some(slot),
            false => self.ground.pool.is_attached(slot),
        }
    }

    /// It hangs, and will be detached as soon as somebody else is attached.
    fn freezes(&self, slot: SlotIndex) -> bool {
        self.answer(slot).is_some_and(|a| !a.is_safe_to_search())
    }

    fn may_come(&self, slot: SlotIndex) -> bool {
        match self.answer(slot) {
            None | Some(Answer::ReadOnly | Answer::Alive(_)) => true,
            Some(Answer::Writable) => {
                self.ground.cluster.standby_cluster || self.assignment.leader == Some(slot)
            }
            Some(Answer::Dead(_) | Answer::Unreachable(_) | Answer::Hung(_)) => false,
        }
    }

    /// It fell a moment ago, or is back and has not shown yet that it stays. Who falls again and
    /// again is not waited for. While nobody at all is attached, nothing is worth waiting for.
    fn may_be_back(&self, member: &Member, wish: &Wish) -> bool {
        let soon = match wish.why {
            Why::Unproven(_, trial) => trial.falls <= 1,
            Why::NotServing(name, _) | Why::NoRoleThatServes(name) => {
                self.ground.elapsed.fell.contains(name)
            }
            _ => false,
        };
        soon && may_read(self.ground, member) && self.ground.pool.attached().next().is_some()
    }

    /// The leader's site first, then who serves, and of those who has the reads. Of those who do
    /// not serve yet the nearest. Where nobody was asked: as the operator lists them, then by name.
    fn rank(&self, site: &Site<'a>, distance: usize, by_slot: &BySlot) -> impl Ord + use<'a> {
        let standing = self.of_site(site, by_slot);
        let file = |s: &SlotIndex| self.ground.weight_in_file(*s).unwrap_or(0.0) > 0.0;
        let has_reads = site.slots.iter().any(|s| is_candidate(by_slot, *s) && file(s));
        let has_reads = standing == Standing::Serves && has_reads;
        let round_trip = |s: &SlotIndex| self.ground.reach.round_trip(self.assignment.address(*s)?);
        let candidates = site.slots.iter().filter(|s| is_candidate(by_slot, **s));
        let nearest = candidates.filter_map(round_trip).min().unwrap_or(Duration::MAX);
        let tier = distance.checked_sub(1).and_then(|n| self.ground.policy.farther.get(n));
        let listed = match tier {
            Some(Tier::Places(names)) => names.iter().position(|name| name == site.place),
            Some(Tier::Any) | None => None,
        };
        let leads = self.has_the_leader(site);
        (Reverse(leads), Reverse(standing), Reverse(has_reads), nearest, listed, site.place)
    }

    fn answer(&self, slot: SlotIndex) -> Option<&'a Answer> {
        self.ground.reach.of(self.assignment.address(slot)?)
    }
}
