/* Connects at a steady rate, one short session per connect, and counts. usage: load CONNINFO RATE WORKERS READS|WRITES */
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *conninfo, *query;
static double period;
static atomic_long tickets, good, bad, late;
static struct timespec start;
static volatile sig_atomic_t over;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (t.tv_sec - start.tv_sec) + (t.tv_nsec - start.tv_nsec) / 1e9;
}

static void *work(void *unused)
{
	while (!over)
	{
		double due = atomic_fetch_add(&tickets, 1) * period, wait = due - now();
		if (wait < -0.5) { atomic_fetch_add(&late, 1); continue; }
		if (wait > 0) usleep(wait * 1e6);
		PGconn *c = PQconnectdb(conninfo);
		int ok = 0;
		if (PQstatus(c) == CONNECTION_OK)
		{
			PGresult *r = PQexec(c, query);
			ok = PQresultStatus(r) == PGRES_TUPLES_OK;
			PQclear(r);
		}
		PQfinish(c);
		atomic_fetch_add(ok ? &good : &bad, 1);
	}
	return unused;
}

static void stop(int s) { (void) s; over = 1; }

int main(int argc, char **argv)
{
	if (argc != 5) return 2;
	conninfo = argv[1]; period = 1.0 / atof(argv[2]); query = argv[4];
	signal(SIGTERM, stop); signal(SIGINT, stop); signal(SIGPIPE, SIG_IGN);
	clock_gettime(CLOCK_MONOTONIC, &start);
	int n = atoi(argv[3]);
	for (int i = 0; i < n; i++) { pthread_t t; pthread_create(&t, NULL, work, NULL); }
	long g0 = 0, b0 = 0, l0 = 0;
	while (!over)
	{
		sleep(1);
		long g = good, b = bad, l = late;
		printf("%.0f ok %ld failed %ld skipped %ld\n", now(), g - g0, b - b0, l - l0);
		fflush(stdout);
		g0 = g; b0 = b; l0 = l;
	}
	return 0;
}
