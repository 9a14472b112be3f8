"""Cases: tasks that a test calls in its transaction, and what follows each of them."""

import pytest
from celery import chain, chord, group

from django_app.celery import apply_async_in_transaction as send
from django_app.testing import captured_tasks, run_bridge
from tests.django.kit.shop import Shop
from tests.django.kit.tasks import echo, fail, seen, told, told_id, total


class SendingTest(Shop):
    def test_callbacks_and_the_rest_of_a_chain(self) -> None:
        send(chain(echo.s(1).set(link=[echo.s("first")]), echo.s(2).set(link=[echo.s("second")]), echo.s(3)))
        run_bridge()
        assert seen[0] == [1]
        assert sorted(map(str, seen[1:])) == ["[1, 'first']", "[1, 'second']", "[1, 2]", "[1, 3]"]

    def test_callbacks_of_an_error(self) -> None:
        result = send(fail.s("fail").set(link_error=[told_id.s("how"), told.s()]))
        with pytest.raises(ZeroDivisionError, match="fail"):
            run_bridge()
        assert seen[0] == "fail"
        assert [result.id, "how"] in seen
        assert (result.id, "ZeroDivisionError('fail')") in seen

    def test_no_error_has_no_callbacks_of_it(self) -> None:
        send(chain(echo.s(1), echo.s(2)), link_error=[told.s()])
        run_bridge()
        assert seen == [[1], [1, 2]]

    def test_an_error_inside_of_a_chain(self) -> None:
        send(chain(echo.s(1), fail.si("fail").set(link_error=[told.s()]), echo.s(2)))
        with pytest.raises(ZeroDivisionError, match="fail"):
            run_bridge()
        [first, second, (_, error)] = seen
        assert (first, second, error) == ([1], "fail", "ZeroDivisionError('fail')")
        assert run_bridge() == []

    def test_a_failed_callback_of_an_error_hides_nothing(self) -> None:
        send(fail.s("fail").set(link_error=[fail.si("fail in the database")]))
        with pytest.raises(ZeroDivisionError, match=r"^fail$"):
            run_bridge()
        assert run_bridge() == []

    def test_the_body_of_a_chord(self) -> None:
        body = send(chord([echo.s(2), echo.s(1), chain(echo.s(3), echo.s(4))], total.s("more")))
        send(chord([echo.s(5)], total.s()))
        run_bridge()
        assert seen.count([[2, 1, 3], "more", body.id]) == 1
        assert len([values for values in seen if values[0] == [5]]) == 1
        assert run_bridge() == []

    def test_the_body_of_a_chord_after_which_a_chain_goes_on(self) -> None:
        send(chain(group(echo.s(1), echo.s(2)), total.s(), echo.s("end")))
        run_bridge()
        assert [values[0] for values in seen[2:]] == [[1, 2], "total"]

    def test_a_group_in_the_middle_of_a_chain(self) -> None:
        send(chain(echo.s(0), group(echo.s(1), echo.s(2)), total.s()))
        run_bridge()
        assert seen[-1][0] == [0, 0]

    def test_a_chord_with_a_member_that_fails(self) -> None:
        for members in ([echo.s(2), fail.s("fail")], [echo.s(2), chain(fail.s("fail"), echo.s(1))]):
            seen.clear()
            body = send(chord(members, total.s().on_error(told.s())))
            with pytest.raises(ZeroDivisionError, match="fail"):
                run_bridge()
            run_bridge()
            assert sorted(map(str, seen)) == [f"('{body.id}', \"ZeroDivisionError('fail')\")", "[2]", "fail"]

    def test_members_of_a_chord_that_are_called_in_another_order(self) -> None:
        with captured_tasks() as tasks:
            send(chord([echo.s(2), echo.s(1)], total.s()))
        first, second = (task for task in tasks if task.name == "kit.echo")
        second()
        assert seen == [[1]]
        first()
        assert [seen[1], seen[2][0]] == [[2], [2, 1]]
