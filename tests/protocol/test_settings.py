"""Settings of a protocol that cannot work are refused with the path of their key."""

from dataclasses import replace

import pytest

from experiments.components.registry import functions
from experiments.config.check import check
from experiments.config.compose import compose, typed
from experiments.config.protocol_keys import check_protocol
from experiments.config.schema import ProtocolConfig
from experiments.errors import PaddockError
from paddock import ListMeasure


def protocol_of(name, *overrides):
    return typed(compose([f"protocol={name}", *overrides]))


@pytest.mark.parametrize(
    "name",
    [
        "loo",
        "temporal",
        "random",
        "loo-c20",
        "loo-c20-sample",
        "loo-c100",
        "cold-users",
        "cold-users-5",
    ],
)
def test_protocols_of_the_repository_are_accepted(name):
    check(protocol_of(name))


def test_own_cut_times_are_accepted():
    check(protocol_of("temporal", "protocol.ratios=null", "protocol.cut_times=[5,9.5]"))


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        (
            "loo",
            ["seed=3"],
            r"protocol.seed=3 is read by split cold_items and cold_users and random, not by loo",
        ),
        (
            "loo",
            ["ratios=[0.8,0.1,0.1]"],
            r"protocol.ratios=\[0.8,0.1,0.1\] is read by split random and temp",
        ),
        (
            "random",
            ["cut_times=[1,2]"],
            r"protocol.cut_times=\[1.0,2.0\] is read by split temporal",
        ),
        ("random", ["seed=null"], r"protocol.seed is missing: protocol.split=random needs it"),
        ("random", ["ratios=null"], r"protocol.ratios is missing"),
        ("random", ["seed=-1"], r"protocol.seed=-1 must be at least 0"),
        ("random", ["ratios=[0.8,0.2]"], r"protocol.ratios=\[0.8,0.2\] must be three shares"),
        ("random", ["ratios=[0.8,0.2,0]"], r"the share of test must be above 0"),
        ("random", ["ratios=[0.8,0,0.2]"], r"the share of valid must be above 0"),
        ("random", ["ratios=[-0.8,0.9,0.9]"], r"the share of train must be above 0"),
        ("random", ["ratios=[0.8,0.1,nan]"], r"protocol.ratios\[2\]=nan must be a finite number"),
        ("random", ["ratios=[0.7,0.1,0.1]"], r"must sum to 1, not to 0.9"),
        ("random", ["ratios=[8,1,1]"], r"the share of train must be above 0 and below 1"),
        (
            "temporal",
            ["seed=3"],
            r"protocol.seed=3 is read by split cold_items and cold_users and random, not by temporal",
        ),
        ("temporal", ["cut_times=[1,2]"], r"set one of them, the other to null"),
        ("temporal", ["ratios=null"], r"protocol.ratios=null or protocol.cut_times=null: set one"),
        ("temporal", ["ratios=null", "cut_times=[2,1]"], r"test must begin after validation"),
        ("temporal", ["ratios=null", "cut_times=[1]"], r"must be two times"),
        (
            "temporal",
            ["ratios=null", "cut_times=[1,inf]"],
            r"protocol.cut_times\[1\]=inf must be a",
        ),
        ("loo", ["beyond=[ginni]"], r"protocol.beyond holds ginni.*did you mean gini"),
        ("loo", ["slices.items=0.7"], r"protocol.slices.items=0.7 must be above 0 and at most 0.5"),
        ("loo", ["slices.users=0"], r"protocol.slices.users=0.0 must be above 0"),
        ("loo", ["history=5"], r"protocol.history=5 is read by split cold_users, not by loo"),
        ("cold-users", ["history=-1"], r"protocol.history=-1 must be at least 0"),
        ("cold-users", ["settings.share=1"], r"protocol.settings.share=1"),
        (
            "cold-users",
            ["refit=valid"],
            r"holds its users out of training: set protocol.refit=none",
        ),
        ("loo", ["split=lo"], r"protocol.split=lo is unknown"),
    ],
)
def test_impossible_settings_are_refused(name, overrides, told):
    with pytest.raises(PaddockError, match=told):
        check(protocol_of(name, *(f"protocol.{override}" for override in overrides)))


def test_a_split_by_time_of_data_without_times_is_refused_before_it_is_read():
    config = protocol_of(
        "temporal", "dataset=atomic", "dataset.source=x", "dataset.columns.time=null"
    )
    with pytest.raises(PaddockError, match=r"dataset.columns.time is null"):
        check(config)


def test_slices_and_lists_can_be_turned_off():
    config = protocol_of("loo", "protocol.beyond=[]", "protocol.slices.users=null")
    check(config)
    check_protocol(replace(config.protocol, slices=replace(config.protocol.slices, items=None)))


def test_all_list_measures_are_computed_by_default():
    assert set(functions(ListMeasure)) == set(ProtocolConfig().beyond)
