/* What every public header begins with: symbol visibility and C++ linkage. */
#ifndef SCONCE_EXPORT_H
#define SCONCE_EXPORT_H

#if defined(__GNUC__)
#define SCONCE_API __attribute__((visibility("default")))
#define SCONCE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SCONCE_API
#define SCONCE_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
#define SCONCE_BEGIN_DECLS extern "C" {
#define SCONCE_END_DECLS }
#else
#define SCONCE_BEGIN_DECLS
#define SCONCE_END_DECLS
#endif

#endif
